"""Servers that break the promise, each in one way: a whole run must find them out."""

from __future__ import annotations

from typing import Sequence

from multiproto.auth.known import KnownTokens
from multiproto.core.hub import Hub
from multiproto.core.session import Session
from multiproto.core.wire import Why


def keeps_connections() -> None:
    """Those that live on what was revoked go on."""
    end = Session.end

    def lenient(session: Session, why: Why) -> None:
        if why is not Why.REVOKED:
            end(session, why)

    Session.end = lenient  # type: ignore[method-assign, assignment]


def keeps_tokens() -> None:
    """A token that was good lately stays good for requests."""

    def deaf(self: KnownTokens, ids: Sequence[str]) -> None:
        """Nothing is forgotten."""

    KnownTokens.forget = deaf  # type: ignore[method-assign]
    Hub.has_revoked = lambda self, who: False  # type: ignore[method-assign]
