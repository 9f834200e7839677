"""What is due to one peer because time has passed: a farewell, a warning, a question."""

from __future__ import annotations

from typing import Union

from attrs import define

from .limits import Limits
from .ports import Identity
from .wire import Expiring, Ping, Why

WARNED = 60.0  # seconds before a token runs out that its owner is told, or a tenth of its lifetime if less
LEAST = 2.0  # seconds of that: the clock is looked at once a second, and an answer takes its time


@define(eq=False, repr=False)
class Vigil:
    """All times are by the session's clock."""

    _limits: Limits
    _opened_at: float
    _pinged_at: float
    _warned_of: float | None = None  # the end of the token that was warned of: once for each

    def due(self, now: float, heard_at: float, who: Identity | None) -> Union[Why, Expiring, Ping, None]:
        """How the session ends, or what is to be said; one thing at a time."""
        limits = self._limits
        if who is None and now - self._opened_at >= limits.auth_within:
            return Why.UNAUTHENTICATED
        if who is not None and now >= who.until:
            return Why.EXPIRED
        if now - heard_at >= limits.silence:
            return Why.SILENT
        if who is not None and who.until != self._warned_of and now >= who.until - _ahead(who):
            self._warned_of = who.until
            return Expiring(who.until)
        if now - self._pinged_at >= limits.ping_every:
            self._pinged_at = now
            return Ping()
        return None


def _ahead(who: Identity) -> float:
    return max(LEAST, min(WARNED, (who.until - who.since) / 10))
