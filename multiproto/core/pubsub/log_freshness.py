"""Whether this instance is caught up with the head of the log, or stale.

Rights end through the log.  An instance that has not read to the log's head for
`STALE_AFTER` seconds might serve a user whose rights were revoked on another
one, so it holds back deliveries and commands until it is caught up (docs/guarantees.md#g7-authority-is-current).
"""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred, TimeoutError, succeed
from twisted.internet.interfaces import IReactorTime

from ...base.waiters import Waiters
from ..errors import Unavailable

STALE_AFTER = 1.0  # seconds
# Refused within two seconds of the loss (docs/guarantees.md#g10-degrade-do-not-die).
COMMAND_GRACE = 0.5  # seconds more that a command waits before it is refused


@define(eq=False, repr=False)
class LogFreshness:
    _clock: IReactorTime
    _current_at: float | None = None  # when the last read began that reached the head; `None`: never followed
    _waiters: Waiters[None] = Factory(Waiters)

    @property
    def is_stale(self) -> bool:
        return self._current_at is not None and self._clock.seconds() - self._current_at > STALE_AFTER

    def mark_current(self, at: float) -> None:
        """A read of the log that began `at`, by the clock, has reached its head."""
        self._current_at = at
        if not self.is_stale:
            self._waiters.release(None)

    def when_current(self) -> Deferred[None]:
        """Fires once this instance is not stale."""
        return self._waiters.wait() if self.is_stale else succeed(None)

    async def wait_until_current(self) -> None:
        """For a command: wait for a short time only.  Raises `Unavailable`."""
        while self.is_stale:
            left = STALE_AFTER + COMMAND_GRACE - self._age()
            try:
                await self.when_current().addTimeout(max(left, 0.0), self._clock)
            except TimeoutError:
                raise Unavailable("This instance can't see what happens; try again soon") from None

    def _age(self) -> float:
        return 0.0 if self._current_at is None else self._clock.seconds() - self._current_at
