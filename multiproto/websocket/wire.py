"""Describes WebSocket to the server: the endpoint for clients, and the one that echoes."""

from __future__ import annotations

from twisted.web.resource import IResource

from ..config import Config
from ..config.connection_limits import make_connection_limits
from ..rfc6455.resource import UpgradeResource
from ..wire import AdmissionSettings, MountedWire, WireContext
from .protocol import MAX_ECHO_SIZE, WebSocketEchoProtocol, WebSocketFactory

NAME, ECHO_NAME = "websocket", "echo"


def websocket_wire(config: Config) -> MountedWire:
    def make_resource(context: WireContext) -> IResource:
        return UpgradeResource(
            WebSocketFactory(
                context.core.hub,
                context.admissions[NAME],
                context.core.clock,
                context.core.now,
                context.allows_origin,
                config.websocket.max_message_size,
            )
        )

    return MountedWire(
        name=NAME,
        enabled=config.websocket.enabled,
        admissions=(_admission(NAME, config),),
        path="/ws",
        make_resource=make_resource,
    )


def websocket_echo_wire(config: Config) -> MountedWire:
    def make_resource(context: WireContext) -> IResource:
        return UpgradeResource(
            WebSocketFactory(
                context.core.hub,
                context.admissions[ECHO_NAME],
                context.core.clock,
                context.core.now,
                context.allows_origin,
                MAX_ECHO_SIZE,
                protocol_class=WebSocketEchoProtocol,
            )
        )

    return MountedWire(
        name=ECHO_NAME,
        enabled=config.websocket.echo_enabled,
        admissions=(_admission(ECHO_NAME, config),),
        path="/ws-echo",
        make_resource=make_resource,
    )


def _admission(name: str, config: Config) -> AdmissionSettings:
    settings = config.websocket
    return AdmissionSettings(name, make_connection_limits(config, settings), settings.max_connections_per_ip)
