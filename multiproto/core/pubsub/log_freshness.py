"""Whether this instance knows what the log holds.

Rights end through the log.  An instance that has not read to the log's end for
`STALE_AFTER` seconds might serve somebody whose rights have ended on another one, so
it holds what it would say and do until it has caught up (guarantee G7).
"""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from ..errors import Unavailable

STALE_AFTER = 1.0  # seconds
COMMAND_GRACE = (
    0.5  # seconds more that a command waits before it is refused: within two of the loss (guarantee G10)
)


@define(eq=False, repr=False)
class LogFreshness:
    _clock: IReactorTime
    _current_at: float | None = (
        None  # when the last look began that found the log's end; `None`: nobody looks
    )
    _waiters: list[Deferred[None]] = Factory(list)

    @property
    def is_stale(self) -> bool:
        return self._age() > STALE_AFTER

    def mark_current(self, at: float) -> None:
        """A look at the log that began `at`, by the clock, has found its end."""
        self._current_at = at
        if not self.is_stale:
            waiting, self._waiters = self._waiters, []
            for each in waiting:
                each.callback(None)

    def when_current(self) -> Deferred[None]:
        """Fires when the instance is not blind; at once, if so."""
        regained: Deferred[None] = Deferred()
        if self.is_stale:
            self._waiters.append(regained)
        else:
            regained.callback(None)
        return regained

    async def wait_until_current(self) -> None:
        """For a command: waits a little for the sight to come back.  Raises `Unavailable`."""
        while self.is_stale:
            left = STALE_AFTER + COMMAND_GRACE - self._age()
            try:
                await self.when_current().addTimeout(max(left, 0.0), self._clock)
            except TimeoutError:
                raise Unavailable("This instance can't see what happens; try again soon") from None

    def _age(self) -> float:
        return 0.0 if self._current_at is None else self._clock.seconds() - self._current_at
