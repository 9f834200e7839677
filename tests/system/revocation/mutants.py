"""Changes to a server before it starts.

Servers that break the promise, each in one way: a whole run must find them out.
And one that waits longer than the promise in seconds allows, for a busy machine.
"""

from __future__ import annotations

from typing import Sequence

from multiproto.auth.token_cache import TokenCache
from multiproto.core.connections.connection import Connection
from multiproto.core.protocol import CloseReason
from multiproto.core.pubsub import log_freshness
from multiproto.core.revocations import Revocations
from multiproto.storage.postgresql import servers, writer


def is_patient() -> None:
    """It takes a log that it has not read, or a database that gives no answer, for lost only after a while.

    What it then does, and in which order, is the same.
    """
    log_freshness.STALE_AFTER = 5.0  # seconds
    writer.WRITE_TIMEOUT = 20.0  # seconds
    servers.CONNECT_TIMEOUT = 20  # seconds


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
