"""Measures how late the reactor's timers are: the delay of every client while something blocks it."""

from __future__ import annotations

from attrs import define
from prometheus_client import Histogram
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

INTERVAL = 0.5  # seconds


@define(eq=False, repr=False)
class ReactorLag(Service):
    """Schedules a call every half second, and records by how much it was late."""

    _clock: IReactorTime
    _lag: Histogram  # seconds
    _due_at: float = 0.0
    _timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._schedule()

    def stopService(self) -> None:
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._due_at = self._clock.seconds() + INTERVAL
        self._timer = self._clock.callLater(INTERVAL, self._measure)

    def _measure(self) -> None:
        self._lag.observe(self._clock.seconds() - self._due_at)
        self._schedule()
