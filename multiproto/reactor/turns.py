"""The present turn of a reactor: when it began, and what is done in it; where it is not ours, with delayed calls."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable

from attrs import define
from twisted.internet.interfaces import IReactorTime

Schedule = Callable[[Callable[[], object]], object]  # calls a function once, later


def current_turn(reactor: Any) -> Any:
    """The `CurrentTurn` of `core.turn_scheduler`, by `perf_counter`: our own reactor is one, others need a `TurnMarker`."""
    return reactor if hasattr(reactor, "turn_started_at") else TurnMarker(reactor, perf_counter)


def call_after_step(reactor: Any) -> Schedule:
    """`BoundedEpollReactor.call_after_step`, or what is nearest to it on other reactors."""
    return getattr(reactor, "call_after_step", None) or partial(reactor.callLater, 0)


def call_before_poll(reactor: Any) -> Schedule:
    """`BoundedEpollReactor.call_before_poll`, or what is nearest to it on other reactors."""
    return getattr(reactor, "call_before_poll", None) or partial(reactor.callLater, 0)


@define(eq=False, repr=False)
class TurnMarker:
    """A turn begins when `turn_started_at` is first read, and ends by a delayed call, which the next turn makes."""

    _clock: IReactorTime
    _timer: Callable[[], float]
    _started_at: float | None = None
    is_idle: bool = True  # whether anything was ready can't be found out
    has_long_work: bool = False  # which makes no difference here

    @property
    def turn_started_at(self) -> float:
        if self._started_at is None:
            self._started_at = self._timer()
            self._clock.callLater(0, self._end_turn)
        return self._started_at

    def _end_turn(self) -> None:
        self._started_at = None
