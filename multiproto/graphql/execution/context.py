"""The caller of an operation, and the context that its resolvers share."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from attrs import define, frozen

from ...base.bearer import parse_bearer
from ...core.client_info import ClientInfo
from ...core.connections.send_queue import BufferBudget
from ...core.errors import Refusal, Unauthorized
from ...core.identity import Identity
from ...core.ports import Authenticator
from ...core.ratelimit.publish_limits import PublishLimits
from .dataloaders import OperationLoaders


@frozen
class Caller:
    """Who sent an operation: the client, and its identity if it is authenticated."""

    host: str  # the client's address
    identity: Identity | None = None
    refusal: Refusal | None = None  # why there is no identity, when a token was sent
    connection_id: str | None = None  # of the socket
    user_agent: str = ""
    budget: BufferBudget | None = None  # shared by the subscriptions of the socket
    turn_key: str = ""  # whose share of the reactor's time operations take
    # Of the socket: waits as many seconds, and raises `Unavailable` when the socket has ended.
    delay: Callable[[float], Awaitable[None]] | None = None
    # Of the connection that a subscription is sent on: called before its replay begins, and behind it.
    limit_unsent: Callable[[bool], object] | None = None

    @property
    def client(self) -> ClientInfo:
        return ClientInfo("graphql", self.host, self.user_agent)

    def require_identity(self) -> Identity:
        """The identity; raises why the token was refused, or `Unauthorized` when there was none."""
        if self.identity is None:
            raise self.refusal or Unauthorized("Authentication required")
        return self.identity

    async def charge_publication(self, limits: PublishLimits) -> bool:
        """On a socket, count a publication, and wait as long as it has to, behind those before it; returns whether it was counted."""
        if self.delay is None:
            return False
        await self.delay(limits.charge(self.require_identity()))
        return True


@define(eq=False, repr=False)
class Context:
    """What the resolvers of one operation, or of one event of a subscription, share."""

    caller: Caller
    loaders: OperationLoaders
    cursor: str | None = None  # of the newest event that a mutation caused
    account_writes: int = 0  # changes of accounts, sessions and credentials, counted by the mutations
    prefetched_root: Any = None  # `PrefetchedResult` of the root field, if it was resolved ahead


def require_bearer(authorization: str) -> str:
    """The token in an Authorization header.  Raises `Unauthorized`."""
    token = parse_bearer(authorization)
    if not token:
        raise Unauthorized("Authorization must be: Bearer <token>")
    return token


async def authenticate_caller(
    authenticator: Authenticator, authorization: str | None, host: str, agent: str, turn_key: str
) -> Caller:
    """The caller who sent this Authorization header.

    A bad token does not refuse the request: a client that calls `refresh` sends
    its expired one along.
    """
    caller = Caller(host, user_agent=agent, turn_key=turn_key)
    if not authorization:
        return caller
    try:
        identity = await authenticator.authenticate(require_bearer(authorization), caller.client)
        return Caller(host, identity, user_agent=agent, turn_key=turn_key)
    except Refusal as refusal:
        return Caller(host, refusal=refusal, user_agent=agent, turn_key=turn_key)
