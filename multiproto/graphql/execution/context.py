"""Who asks, and what belongs to one operation of theirs."""

from __future__ import annotations

from typing import Any

from attrs import define, frozen

from ...core.client_info import ClientInfo
from ...core.connections.send_queue import BufferBudget
from ...core.errors import Refusal, Unauthorized
from ...core.identity import Identity
from ...core.ports import Authenticator
from ..schema.dataloaders import OperationLoaders


@frozen
class Caller:
    host: str  # the client's address
    identity: Identity | None = None
    refusal: Refusal | None = None  # why there is no identity, when a token was sent
    connection_id: str | None = None  # id of the socket's session
    user_agent: str = ""  # what the client calls itself
    allowance: BufferBudget | None = None  # of the subscriptions on that socket

    @property
    def client(self) -> ClientInfo:
        return ClientInfo("graphql", self.host, self.user_agent)

    def require_identity(self) -> Identity:
        """Raises what the gate said of the token, or `Unauthorized` when there was none."""
        if self.identity is None:
            raise self.refusal or Unauthorized("Authentication required")
        return self.identity


@define(eq=False, repr=False)
class Context:
    """What resolvers are given of one operation, or of one event of a subscription."""

    caller: Caller
    loaders: OperationLoaders
    cursor: str | None = None  # of the newest event that a mutation caused
    prefetched_root: Any = None  # a coroutine's outcome, for the root field that is going to ask for it


def parse_bearer(authorization: str) -> str:
    """The token in an Authorization header (RFC 6750, 2.1).  Raises `Unauthorized`."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization must be: Bearer <token>")
    return token.strip()


async def authenticate_caller(
    access: Authenticator, authorization: str | None, host: str, agent: str
) -> Caller:
    """Who sent this header.

    A token that is not good is no reason to decline the request: a client that
    asks for `refresh` sends its expired one along.
    """
    caller = Caller(host, user_agent=agent)
    if not authorization:
        return caller
    try:
        who = await access.authenticate(parse_bearer(authorization), caller.client)
        return Caller(host, who, user_agent=agent)
    except Refusal as refusal:
        return Caller(host, refusal=refusal, user_agent=agent)
