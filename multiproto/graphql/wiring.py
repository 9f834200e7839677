"""Puts the room together: one value of what it needs in, one resource for `/graphql` out."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from ..core.access import Access
from ..core.accounts import Accounts
from ..core.hub import Hub, Line
from ..core.keyring import Keyring
from ..core.messages import Messages
from ..core.publishing import Publisher
from ..core.sessions import Sessions
from ..rfc6455.resource import UpgradeResource
from .documents import Documents
from .endpoint import Endpoint
from .execute import Observed, Operations
from .limits import QueryLimits
from .loaders import Loaders
from .loop import ClockLoop
from .playground import Playground
from .resolvers import Mutations, Queries, Relations, Resolvers, Subscriptions
from .schema import make_schema
from .socket import OperationsFactory


@frozen
class Needs:
    accounts: Accounts
    sessions: Sessions
    keyring: Keyring
    access: Access
    messages: Messages
    publisher: Publisher
    hub: Hub
    clock: IReactorTime  # seconds since the epoch
    sockets: Line  # connections of graphql-transport-ws
    streams: Line  # subscriptions, over sockets and event streams
    health: Callable[[], Awaitable[Mapping[str, Any]]]  # as `GET /health` says it
    allowed_origin: Callable[[str], bool]  # may open a socket; our own origin always may
    observed: Observed
    throttle: Callable[[str], Awaitable[None]]  # before a login from this address; raises `RateLimited`
    limits: QueryLimits = QueryLimits()
    introspection: bool = True
    playground: bool = False
    path: str = "/graphql"
    fast: bool = True  # short ways


def make_endpoint(needs: Needs) -> Endpoint:
    operations = make_operations(needs)
    socket = OperationsFactory(
        operations, needs.hub, needs.sockets, needs.clock, needs.allowed_origin, needs.fast
    )
    playground = Playground(needs.path, needs.introspection) if needs.playground else None
    return Endpoint(
        operations,
        needs.access,
        needs.clock,
        needs.limits.batch,
        UpgradeResource(socket),
        playground,
    )


def make_operations(needs: Needs) -> Operations:
    loop = ClockLoop.on(needs.clock)
    resolvers = Resolvers(
        Queries(
            needs.accounts,
            needs.sessions,
            needs.keyring,
            needs.messages,
            needs.publisher.policy,
            needs.health,
        ),
        Mutations(
            needs.accounts, needs.sessions, needs.keyring, needs.messages, needs.publisher, needs.throttle
        ),
        Subscriptions(needs.hub, needs.streams),
        Relations(),
    )
    schema = make_schema(resolvers, loop)
    return Operations(
        Documents(schema, needs.limits, not needs.introspection, needs.fast),
        lambda: Loaders(needs.accounts, needs.messages, needs.clock),
        loop,
        needs.clock,
        needs.observed,
        needs.fast,
    )
