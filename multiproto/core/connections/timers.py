"""The timers of one connection: authentication timeout, token expiry and its warning, idle timeout, keepalive ping."""

from __future__ import annotations

from typing import Union

from attrs import define

from ..identity import Identity
from ..protocol import CloseReason, Ping, TokenExpiring
from .admission import ConnectionLimits

WARN_BEFORE = 60.0  # seconds before its expiry that a token is warned of, or a tenth of its lifetime if less
MIN_WARN_BEFORE = 2.0  # seconds, at least: timers are checked once a second, and an answer takes its time


@define(eq=False, repr=False)
class ConnectionTimers:
    """All times are by the connection's clock."""

    _limits: ConnectionLimits
    _opened_at: float
    _pinged_at: float
    _warned_expiry: float | None = None  # expiry of the token that was warned of: once for each token

    def begin_later(self, seconds: float) -> None:
        """Count from so many seconds after the connection was opened."""
        self._opened_at += seconds
        self._pinged_at += seconds

    def due(
        self, now: float, last_received_at: float, identity: Identity | None, understands_warning: bool
    ) -> Union[CloseReason, TokenExpiring, Ping, None]:
        """The reason to close, or the reply to send, now; one thing at a time."""
        limits = self._limits
        if identity is None and now - self._opened_at >= limits.auth_timeout:
            return CloseReason.AUTH_TIMEOUT
        if identity is not None and now >= identity.deadline:
            return CloseReason.TOKEN_EXPIRED
        if now - last_received_at >= limits.idle_timeout:
            return CloseReason.IDLE_TIMEOUT
        if (
            understands_warning
            and identity is not None
            and identity.expires_at != self._warned_expiry
            and now >= identity.deadline - _warn_before(identity)
        ):
            self._warned_expiry = identity.expires_at
            return TokenExpiring(identity.expires_at)
        if now - self._pinged_at >= limits.ping_interval:
            self._pinged_at = now
            return Ping()
        return None


def _warn_before(identity: Identity) -> float:
    return max(MIN_WARN_BEFORE, min(WARN_BEFORE, (identity.expires_at - identity.issued_at) / 10))
