"""The limits of one connection, as the settings of its protocol have them."""

from __future__ import annotations

from ..core.connections.admission import ConnectionLimits
from .settings import Config, TcpConfig, WebSocketConfig


def make_connection_limits(config: Config, protocol: TcpConfig | WebSocketConfig) -> ConnectionLimits:
    return ConnectionLimits(
        auth_timeout=config.auth.auth_timeout,
        ping_interval=protocol.ping_interval,
        idle_timeout=2 * protocol.ping_timeout,
        command_rate=config.rate_limits.command_rate,
        read_rate=config.rate_limits.byte_rate,
    )
