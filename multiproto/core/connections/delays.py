"""Waiting for a while on behalf of a connection, and no longer than it lasts."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False, repr=False)
class Delays:
    _clock: IReactorTime
    _timers: dict[Deferred[None], IDelayedCall] = Factory(dict)

    def wait(self, seconds: float) -> Deferred[None]:
        """Fires after `seconds`, or at the `end`."""
        delay: Deferred[None] = Deferred()
        self._timers[delay] = self._clock.callLater(seconds, self._on_timer, delay)
        return delay

    def end(self) -> None:
        """Let all go on now, in the order in which they began to wait."""
        timers, self._timers = self._timers, {}
        for delay, timer in timers.items():
            timer.cancel()
            delay.callback(None)

    def _on_timer(self, delay: Deferred[None]) -> None:
        del self._timers[delay]
        delay.callback(None)
