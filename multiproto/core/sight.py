"""Whether this instance knows what the log holds.

Rights end through the log.  An instance that has not read to the log's end for
`BLIND` seconds might serve somebody whose rights have ended on another one, so
it holds what it would say and do until it has caught up (guarantee G7).
"""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from .errors import Unavailable

BLIND = 1.0  # seconds
PATIENCE = (
    0.5  # seconds more that a command waits before it is refused: within two of the loss (guarantee G10)
)


@define(eq=False, repr=False)
class Sight:
    _clock: IReactorTime
    _seen: float | None = None  # when the last look began that found the log's end; `None`: nobody looks
    _waiting: list[Deferred[None]] = Factory(list)

    @property
    def blind(self) -> bool:
        return self._age() > BLIND

    def seen(self, at: float) -> None:
        """A look at the log that began `at`, by the clock, has found its end."""
        self._seen = at
        if not self.blind:
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(None)

    def regained(self) -> Deferred[None]:
        """Fires when the instance is not blind; at once, if so."""
        regained: Deferred[None] = Deferred()
        if self.blind:
            self._waiting.append(regained)
        else:
            regained.callback(None)
        return regained

    async def clear(self) -> None:
        """For a command: waits a little for the sight to come back.  Raises `Unavailable`."""
        while self.blind:
            left = BLIND + PATIENCE - self._age()
            try:
                await self.regained().addTimeout(max(left, 0.0), self._clock)
            except TimeoutError:
                raise Unavailable("This instance can't see what happens; try again soon") from None

    def _age(self) -> float:
        return 0.0 if self._seen is None else self._clock.seconds() - self._seen
