"""Puts the room together: one value of what it needs in, one resource for `/graphql` out."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..core.connections.admission import Admission
from ..core.connections.hub import Hub
from ..core.domain.accounts import Accounts
from ..core.domain.credentials import CredentialStore
from ..core.domain.login_sessions import LoginSessions
from ..core.domain.messages import Messages
from ..core.ports import Authenticator
from ..core.pubsub.publisher import Publisher
from ..rfc6455.resource import UpgradeResource
from .execution.asyncio_loop import TwistedEventLoop
from .execution.document_cache import DocumentCache
from .execution.execute import OperationExecutor, OperationObserver
from .execution.limits import QueryLimits
from .schema.build import make_schema
from .schema.dataloaders import OperationLoaders
from .schema.resolvers import (
    MutationResolvers,
    QueryResolvers,
    RelationResolvers,
    Resolvers,
    SubscriptionResolvers,
)
from .transport.http import GraphQLResource
from .transport.playground import Playground
from .transport.websocket import GraphQLWebSocketFactory


@frozen
class GraphQLDependencies:
    accounts: Accounts
    login_sessions: LoginSessions
    credentials: CredentialStore
    request_authenticator: Authenticator
    messages: Messages
    publisher: Publisher
    hub: Hub
    clock: IReactorTime  # seconds since the epoch
    websocket_admission: Admission  # connections of graphql-transport-ws
    subscription_admission: Admission  # subscriptions, over sockets and event streams
    health: Callable[[], Awaitable[Mapping[str, Any]]]  # as `GET /health` says it
    allowed_origin: Callable[[str], bool]  # may open a socket; our own origin always may
    on_operation: OperationObserver
    throttle: Callable[[str], Awaitable[None]]  # before a login from this address; raises `RateLimited`
    limits: QueryLimits = QueryLimits()
    introspection: bool = True
    playground: bool = False
    path: str = "/graphql"
    fast: bool = True  # short ways


def make_graphql_resource(needs: GraphQLDependencies) -> GraphQLResource:
    operations = make_operation_executor(needs)
    socket = GraphQLWebSocketFactory(
        operations, needs.hub, needs.websocket_admission, needs.clock, needs.allowed_origin, needs.fast
    )
    playground = Playground(needs.path, needs.introspection) if needs.playground else None
    return GraphQLResource(
        operations,
        needs.request_authenticator,
        needs.clock,
        needs.limits.batch,
        UpgradeResource(socket),
        playground,
    )


def make_operation_executor(needs: GraphQLDependencies) -> OperationExecutor:
    loop = TwistedEventLoop.for_clock(needs.clock)
    resolvers = Resolvers(
        QueryResolvers(
            needs.accounts,
            needs.login_sessions,
            needs.credentials,
            needs.messages,
            needs.publisher.policy,
            needs.health,
        ),
        MutationResolvers(
            needs.accounts,
            needs.login_sessions,
            needs.credentials,
            needs.messages,
            needs.publisher,
            needs.throttle,
        ),
        SubscriptionResolvers(needs.hub, needs.subscription_admission),
        RelationResolvers(),
    )
    schema = make_schema(resolvers, loop)
    return OperationExecutor(
        DocumentCache(schema, needs.limits, not needs.introspection, needs.fast),
        lambda: OperationLoaders(needs.accounts, needs.messages, needs.clock),
        loop,
        needs.clock,
        needs.on_operation,
        needs.fast,
    )
