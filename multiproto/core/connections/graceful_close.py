"""How long a peer may still read what was sent to it, with the farewell at the end, before it is cut off."""

from __future__ import annotations

from attrs import define

from ..protocol import CloseReason
from .admission import ConnectionLimits

# Whose rights ended is not given more time for reading what it was sent before.
RIGHTS_ENDED = (CloseReason.REVOKED, CloseReason.TOKEN_EXPIRED, CloseReason.AUTH_TIMEOUT)


@define(eq=False, repr=False)
class GracefulClose:
    """Ends after `ConnectionLimits.close_timeout` without progress, and after `max_close_time` in any case.

    Progress is what the peer's kernel acknowledges: a slow peer may have megabytes to read before it comes to the
    farewell, and needs the cursor in that.  All times are by the connection's clock.
    """

    _timeout: float  # seconds without progress
    _ends_at: float
    _progress_at: float
    _acknowledged: int | None  # bytes; `None`: the transport does not know

    @classmethod
    def begin(
        cls, now: float, reason: CloseReason, limits: ConnectionLimits, acknowledged: int | None
    ) -> GracefulClose:
        longest = limits.close_timeout if reason in RIGHTS_ENDED else limits.max_close_time
        return cls(limits.close_timeout, now + longest, now, acknowledged)

    def is_over(self, now: float, acknowledged: int | None) -> bool:
        """Whether the peer has had its time, now that its kernel has `acknowledged` so many bytes."""
        if acknowledged != self._acknowledged:
            self._acknowledged, self._progress_at = acknowledged, now
        return now >= self._ends_at or now - self._progress_at >= self._timeout
