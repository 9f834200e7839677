"""Watches the time of day for leaps, and says by which time stored things expire meanwhile.

Somebody may set the machine's clock: an operator, a hypervisor, a time server
after hours of silence.  Intervals do not notice, for they are measured by a
clock that nobody sets.  But the age of what is stored is known by the time of
day alone.  So while that has leapt, nothing expires that may not be as old as
it seems (docs/decisions/029-two-clocks.md).
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.runtime import seconds as twisted_wall_time

LEAP = 60.0  # seconds between the two clocks, beyond which the time of day counts as wrong
CHECK_INTERVAL = 5.0  # seconds
# Small corrections that a time server makes again and again are forgotten, as seconds in a second, so that they do
# not add up to a leap.  Crystals drift by up to 100 ppm, and Linux corrects by up to 500 ppm.
FORGOTTEN = 0.001


@define(eq=False, repr=False)
class WallClock(Service):
    """Compares the time of day with a clock that nobody sets, since the start."""

    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _offset: float = field(init=False)  # the time of day where `_clock` was 0
    _reported: bool = field(default=False, init=False)  # that it has leapt
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._offset = self._now() - self._clock.seconds()
        self._loop = LoopingCall(self._check)
        self._loop.clock = self._clock

    def startService(self) -> None:
        super().startService()
        if is_wall_clock(self._clock):
            self._log.warn(
                "this reactor's timers go by the time of day: leaps of the machine's clock are not covered"
            )
        self._loop.start(CHECK_INTERVAL, now=False)

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    @property
    def difference(self) -> float:
        """The seconds by which the time of day is ahead of what it should be, by its time at the start."""
        return self._now() - self._steady_now()

    @property
    def has_leapt(self) -> bool:
        return abs(self.difference) > LEAP

    def earliest_now(self) -> float:
        """The time of day by which stored things have expired; after a leap, the earlier one that it may be."""
        return min(self._now(), self._steady_now()) if self.has_leapt else self._now()

    def latest_now(self) -> float:
        """The time of day from which a lifetime counts that is stored; after a leap, the later one that it may be."""
        return max(self._now(), self._steady_now()) if self.has_leapt else self._now()

    def time_behind(self) -> float:
        """The seconds by which the time of day has been set back, while it counts as wrong."""
        return max(0.0, -self.difference) if self.has_leapt else 0.0

    def warning(self) -> str | None:
        """What an operator should know, if anything."""
        if not self.has_leapt:
            return None
        ahead = self.difference
        return (
            f"The time of day has been set {'forward' if ahead > 0 else 'back'} by {abs(ahead):.0f} s since the start: "
            "nothing is pruned for its age, and nothing expires early, until it is right again or the server is restarted"
        )

    def _steady_now(self) -> float:
        return self._offset + self._clock.seconds()

    def _check(self) -> None:
        """Forget small differences, and log when there is a large one."""
        warning = self.warning()
        if warning is None:
            most = FORGOTTEN * CHECK_INTERVAL
            self._offset += min(max(self.difference, -most), most)
            if self._reported:
                self._log.info("the time of day is right again")
        elif not self._reported:
            self._log.warn("{text}", text=warning)
        self._reported = warning is not None


def is_wall_clock(clock: object) -> bool:
    """Whether `clock` is a reactor of Twisted's own, whose timers go by the time of day."""
    return getattr(clock, "seconds", None) is twisted_wall_time
