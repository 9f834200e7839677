"""How late the reactor is: what every client feels when something blocks it."""

from __future__ import annotations

from attrs import define
from prometheus_client import Histogram
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

EVERY = 0.5  # seconds


@define(eq=False, repr=False)
class Tick(Service):
    """Asks to be called every half second, and notes by how much that was late."""

    _clock: IReactorTime
    _lag: Histogram  # seconds
    _due: float = 0.0
    _call: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        if self._call is not None:
            self._call.cancel()

    def _wait(self) -> None:
        self._due = self._clock.seconds() + EVERY
        self._call = self._clock.callLater(EVERY, self._note)

    def _note(self) -> None:
        self._lag.observe(self._clock.seconds() - self._due)
        self._wait()
