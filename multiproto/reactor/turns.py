"""When the present turn of a reactor began: ours notes it, others are asked for a call when it is over."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime


def current_turn(reactor: Any, timer: Callable[[], float] = perf_counter) -> Any:
    """Something with `turn_started_at`, by `timer`: our own reactor, or what is told by another one."""
    return reactor if hasattr(reactor, "turn_started_at") else TurnMarker(reactor, timer)


@define(eq=False, repr=False)
class TurnMarker:
    """Notices that a turn is over by a call that it has asked for."""

    _clock: IReactorTime
    _timer: Callable[[], float]
    _started_at: float | None = None
    is_idle: bool = True  # for all that is known

    @property
    def turn_started_at(self) -> float:
        if self._started_at is None:
            self._started_at = self._timer()
            self._clock.callLater(0, self._end_turn)
        return self._started_at

    def _end_turn(self) -> None:
        self._started_at = None
