"""Who asks, and what belongs to one operation of theirs."""

from __future__ import annotations

from attrs import define, frozen

from ..core.errors import Refusal, Unauthorized
from ..core.outbox import Allowance
from ..core.ports import Gate, Identity
from .loaders import Loaders


@frozen
class Caller:
    host: str  # the client's address
    identity: Identity | None = None
    refusal: Refusal | None = None  # why there is no identity, when a token was sent
    connection: str | None = None  # id of the socket's session
    allowance: Allowance | None = None  # of the subscriptions on that socket

    def who(self) -> Identity:
        """Raises what the gate said of the token, or `Unauthorized` when there was none."""
        if self.identity is None:
            raise self.refusal or Unauthorized("Authentication required")
        return self.identity


@define(eq=False, repr=False)
class Context:
    """What resolvers are given of one operation, or of one event of a subscription."""

    caller: Caller
    loaders: Loaders
    cursor: str | None = None  # of the newest event that a mutation caused


def bearer(authorization: str) -> str:
    """The token in an Authorization header (RFC 6750, 2.1).  Raises `Unauthorized`."""
    scheme, _, token = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Authorization must be: Bearer <token>")
    return token.strip()


async def identify(gate: Gate, authorization: str | None, host: str) -> Caller:
    """Who sent this header.

    A token that is not good is no reason to decline the request: a client that
    asks for `refresh` sends its expired one along.
    """
    if not authorization:
        return Caller(host)
    try:
        return Caller(host, await gate.identify(bearer(authorization), host))
    except Refusal as refusal:
        return Caller(host, refusal=refusal)
