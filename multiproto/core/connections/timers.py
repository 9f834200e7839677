"""What is due to one peer because time has passed: a farewell, a warning, a question."""

from __future__ import annotations

from typing import Union

from attrs import define

from ..identity import Identity
from ..protocol import CloseReason, Ping, TokenExpiring
from .admission import ConnectionLimits

WARN_BEFORE = (
    60.0  # seconds before a token runs out that its owner is told, or a tenth of its lifetime if less
)
MIN_WARN_BEFORE = 2.0  # seconds of that: the clock is looked at once a second, and an answer takes its time


@define(eq=False, repr=False)
class ConnectionTimers:
    """All times are by the session's clock."""

    _limits: ConnectionLimits
    _opened_at: float
    _pinged_at: float
    _warned_expiry: float | None = None  # the end of the token that was warned of: once for each

    def due(
        self, now: float, heard_at: float, who: Identity | None
    ) -> Union[CloseReason, TokenExpiring, Ping, None]:
        """How the session ends, or what is to be said; one thing at a time."""
        limits = self._limits
        if who is None and now - self._opened_at >= limits.auth_timeout:
            return CloseReason.AUTH_TIMEOUT
        if who is not None and now >= who.expires_at:
            return CloseReason.TOKEN_EXPIRED
        if now - heard_at >= limits.idle_timeout:
            return CloseReason.IDLE_TIMEOUT
        if (
            who is not None
            and who.expires_at != self._warned_expiry
            and now >= who.expires_at - _warn_before(who)
        ):
            self._warned_expiry = who.expires_at
            return TokenExpiring(who.expires_at)
        if now - self._pinged_at >= limits.ping_interval:
            self._pinged_at = now
            return Ping()
        return None


def _warn_before(who: Identity) -> float:
    return max(MIN_WARN_BEFORE, min(WARN_BEFORE, (who.expires_at - who.issued_at) / 10))
