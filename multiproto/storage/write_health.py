"""Whether the database accepts writes: what became of the latest ones.

A database may answer reads while no write succeeds: its disk is full, or it is a
standby.  The canary writes every few seconds, so on an idle server, too, the
latest outcome is a recent one.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.errors import Refusal, Unavailable

# Seconds for which a failed write counts, whatever succeeds meanwhile: on a full disk, small ones may.
FAILURE_COUNTS_FOR = 3.0


@define(eq=False, repr=False)
class WriteHealth:
    """Remembers the last failure, until a write has succeeded and some time has passed."""

    _clock: IReactorTime
    _last_failure: Refusal | None = None  # of the writes that count
    _failed_at: float = 0.0  # the clock's seconds
    _has_succeeded_since: bool = False

    def record_success(self) -> None:
        self._has_succeeded_since = True

    def record_failure(self, failure: Refusal) -> None:
        self._last_failure, self._failed_at = failure, self._clock.seconds()
        self._has_succeeded_since = False

    def check(self) -> None:
        """Raise `Unavailable` while writes fail."""
        if self._has_succeeded_since and self._clock.seconds() - self._failed_at >= FAILURE_COUNTS_FOR:
            self._last_failure = None
        if self._last_failure is not None:
            raise Unavailable(f"Writes fail: {self._last_failure}")
