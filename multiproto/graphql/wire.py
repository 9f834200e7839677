"""Describes GraphQL to the server: operations by HTTP, by WebSocket, and as event streams."""

from __future__ import annotations

from twisted.web.resource import IResource

from ..config import Config
from ..config.connection_limits import make_connection_limits
from ..wire import STREAM_LIMITS, AdmissionSettings, MountedWire, WireContext
from .execution.limits import QueryLimits
from .wiring import GraphQLDependencies, make_graphql_resource

NAME, STREAM_NAME = "graphql", "graphql_stream"  # connections of graphql-transport-ws; subscriptions
MAX_STREAMS_PER_NETWORK = 1000  # subscriptions from one address; a socket carries up to 100


def graphql_wire(config: Config) -> MountedWire:
    settings = config.graphql

    def make_resource(context: WireContext) -> IResource:
        core = context.core
        return make_graphql_resource(
            GraphQLDependencies(
                account_services=core.account_services,
                request_authenticator=core.authenticator,
                messages=core.messages,
                publisher=core.publisher,
                hub=core.hub,
                clock=core.clock,
                websocket_admission=context.admissions[NAME],
                subscription_admission=context.admissions[STREAM_NAME],
                health=context.health.document,
                allowed_origin=context.allows_origin,
                on_operation=context.metrics.on_operation,
                count_request=context.request_limits.count,
                limits=QueryLimits(settings.max_depth, settings.max_complexity),
                introspection=settings.introspection,
                playground=settings.playground,
                path=settings.path,
            )
        )

    websocket = config.websocket
    return MountedWire(
        name=NAME,
        enabled=settings.enabled,
        admissions=(
            AdmissionSettings(
                NAME, make_connection_limits(config, websocket), websocket.max_connections_per_ip
            ),
            AdmissionSettings(STREAM_NAME, STREAM_LIMITS, MAX_STREAMS_PER_NETWORK),
        ),
        path=settings.path,
        make_resource=make_resource,
    )
