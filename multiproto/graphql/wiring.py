"""Builds the resource for `/graphql` from what it depends on."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..core.connections.admission import Admission
from ..core.connections.hub import Hub
from ..core.domain.messages import Messages
from ..core.ports import Authenticator
from ..core.pubsub.publisher import Publisher
from ..core.wiring import AccountServices
from ..rfc6455.resource import UpgradeResource
from .execution.asyncio_loop import TwistedEventLoop
from .execution.dataloaders import OperationLoaders
from .execution.document_cache import DocumentCache
from .execution.execute import OperationExecutor, OperationObserver
from .execution.limits import QueryLimits
from .schema.build import make_schema
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


@frozen(eq=False, repr=False)
class GraphQLDependencies:
    account_services: AccountServices
    request_authenticator: Authenticator
    messages: Messages
    publisher: Publisher
    hub: Hub
    clock: IReactorTime
    websocket_admission: Admission  # connections of graphql-transport-ws
    subscription_admission: Admission  # subscriptions, over sockets and event streams
    health: Callable[[], Awaitable[Mapping[str, Any]]]  # as `GET /health` has it
    allowed_origin: Callable[[str], bool]  # whether it may open a socket; the server's own always may
    on_operation: OperationObserver
    # Called before what counts as a request over HTTP, with the client's address and the id of its user, if it has
    # proven to be one; raises `RateLimited`.
    count_request: Callable[[str, str | None], Awaitable[None]]
    limits: QueryLimits = QueryLimits()
    introspection: bool = True
    playground: bool = False
    path: str = "/graphql"


def make_graphql_resource(dependencies: GraphQLDependencies) -> GraphQLResource:
    operations = make_operation_executor(dependencies)
    socket = GraphQLWebSocketFactory(
        operations,
        dependencies.hub,
        dependencies.websocket_admission,
        dependencies.clock,
        dependencies.allowed_origin,
    )
    playground = (
        Playground(dependencies.path, dependencies.introspection) if dependencies.playground else None
    )
    return GraphQLResource(
        operation_executor=operations,
        request_authenticator=dependencies.request_authenticator,
        clock=dependencies.clock,
        max_batch=dependencies.limits.batch,
        websocket=UpgradeResource(socket),
        playground=playground,
    )


def make_operation_executor(dependencies: GraphQLDependencies) -> OperationExecutor:
    turns, services = dependencies.hub.turns, dependencies.account_services

    def count_work(owner: str, seconds: float) -> None:
        turns.count(owner, "graphql", turns.now() - seconds)

    loop = TwistedEventLoop.for_clock(dependencies.clock, count_work)
    resolvers = Resolvers(
        QueryResolvers(
            accounts=services.accounts,
            login_sessions=services.login_sessions,
            credentials=services.credentials,
            messages=dependencies.messages,
            policy=dependencies.publisher.policy,
            health=dependencies.health,
        ),
        MutationResolvers(
            accounts=services.accounts,
            login_sessions=services.login_sessions,
            credentials=services.credentials,
            messages=dependencies.messages,
            publisher=dependencies.publisher,
            count_request=dependencies.count_request,
        ),
        SubscriptionResolvers(dependencies.hub, dependencies.subscription_admission),
        RelationResolvers(),
    )
    schema = make_schema(resolvers, loop)
    return OperationExecutor(
        DocumentCache(schema, dependencies.limits, not dependencies.introspection),
        lambda: OperationLoaders(services.accounts, dependencies.messages, dependencies.clock),
        loop,
        dependencies.clock,
        dependencies.on_operation,
    )
