"""Servers that break the promise, each in one way: a whole run must find them out."""

from __future__ import annotations

from typing import Sequence

from multiproto.auth.token_cache import TokenCache
from multiproto.core.connections.connection import Connection
from multiproto.core.protocol import CloseReason
from multiproto.core.revocations import Revocations


def keeps_connections() -> None:
    """Those that live on what was revoked go on."""
    end = Connection.close

    def lenient(connection: Connection, reason: CloseReason) -> None:
        if reason is not CloseReason.REVOKED:
            end(connection, reason)

    Connection.close = lenient  # type: ignore[method-assign, assignment]


def keeps_tokens() -> None:
    """A token that was good lately stays good for requests."""

    def deaf(self: TokenCache, ids: Sequence[str]) -> None:
        """Nothing is forgotten."""

    TokenCache.revoke = deaf  # type: ignore[method-assign]
    Revocations.is_revoked = lambda self, identity: False  # type: ignore[method-assign]
