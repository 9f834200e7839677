"""Describes framed TCP to the server."""

from __future__ import annotations

from ..config import Config
from ..config.connection_limits import make_connection_limits
from ..wire import AdmissionSettings, ListeningWire, WireContext, WireListener
from .protocol import TcpFactory

NAME = "tcp"


def tcp_wire(config: Config) -> ListeningWire:
    settings = config.tcp

    def make_listener(context: WireContext) -> WireListener:
        return WireListener(
            TcpFactory(
                hub=context.core.hub,
                admission=context.admissions[NAME],
                now=context.core.now,
                max_frame_size=settings.max_frame_size,
                keepalive_idle=settings.keep_alive_interval,
            )
        )

    return ListeningWire(
        name=NAME,
        enabled=settings.enabled,
        admissions=(
            AdmissionSettings(
                NAME,
                make_connection_limits(config, settings),
                settings.max_connections_per_ip,
                settings.max_connections,
            ),
        ),
        host=settings.host,
        port=settings.port,
        make_listener=make_listener,
        setting_prefix="TCP_",
    )
