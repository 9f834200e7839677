"""Waiting for a while on behalf of a connection, in order, and no longer than it lasts."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False, repr=False)
class Delays:
    _clock: IReactorTime
    _timers: dict[Deferred[None], IDelayedCall | None] = Factory(
        dict
    )  # `None`: only those before it are awaited

    @property
    def is_empty(self) -> bool:
        return not self._timers

    def wait(self, seconds: float) -> Deferred[None]:
        """Fires after `seconds` and after all that wait already, or at the `end`.

        Who comes later may have to wait for a shorter time: a limit that instances share is a local one
        while Redis is away.
        """
        if not seconds and not self._timers:
            return succeed(None)
        delay: Deferred[None] = Deferred()
        self._timers[delay] = self._clock.callLater(seconds, self._on_timer, delay) if seconds else None
        return delay

    def end(self) -> None:
        """Let all go on now, in the order in which they began to wait."""
        timers, self._timers = self._timers, {}
        for delay, timer in timers.items():
            if timer is not None:
                timer.cancel()
            delay.callback(None)

    def _on_timer(self, delay: Deferred[None]) -> None:
        self._timers[delay] = None
        while self._timers:
            first, timer = next(iter(self._timers.items()))
            if timer is not None:
                break
            del self._timers[first]
            first.callback(None)
