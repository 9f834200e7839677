"""Compares the time of day with other clocks, and says by which time stored things expire where they disagree.

Somebody may set the machine's clock: an operator, a hypervisor, a time server
after hours of silence.  Intervals do not notice, for they are measured by a
clock that nobody sets.  But the age of what is stored is known by the time of
day alone.  So it is compared with the time since the start, and with the
database's clock where that is another program's.  While they disagree, nothing
expires that may not be as old as it seems (docs/decisions/029-two-clocks.md).

A clock that was wrong from the start leaps in no way.  Where there is no other,
only the log tells: its newest entry is hardly 40 days old.  If it seems to be,
nothing is deleted for its age for a while (docs/decisions/041-expiry.md).
"""

from __future__ import annotations

from typing import Callable, Iterator

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.runtime import seconds as twisted_wall_time

LEAP = 60.0  # seconds between two clocks, beyond which the time of day counts as wrong
CHECK_INTERVAL = 5.0  # seconds
# Small corrections that a time server makes again and again are forgotten, as seconds in a second, so that they do
# not add up to a leap.  Crystals drift by up to 100 ppm, and Linux corrects by up to 500 ppm.
FORGOTTEN = 0.001
# Seconds for which a start with an old log may delay deletions: by then somebody has set a clock that is wrong.
MAX_DELETION_DELAY = 86_400.0


@define(eq=False, repr=False)
class WallClock(Service):
    """Compares the time of day with a clock that nobody sets, since the start, and with the database's."""

    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _offset: float = field(init=False)  # the time of day where `_clock` was 0
    _database_offset: float | None = field(default=None, init=False)  # likewise, by the database's clock
    _log_offset: float | None = field(default=None, init=False)  # likewise, by the newest entry at the start
    _delay_ends: float = field(default=0.0, init=False)  # by `_clock`: when what is old may be deleted
    _reported: bool = field(default=False, init=False)  # that it is wrong
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

    def record_database_time(self, time: float, read_at: float) -> None:
        """The database's clock said `time`, in seconds since the epoch, at `read_at` by our interval clock."""
        self._database_offset = time - read_at

    def record_newest_entry(self, time: float, delays_deletion: bool) -> None:
        """The newest entry of the log, from before this start, is stamped `time`, in seconds since the epoch.

        If that is long ago, the log was not written to for a while, or the time of day is ahead.  If it
        `delays_deletion`, nothing is deleted for its age for as long as that while, and at most `MAX_DELETION_DELAY`.
        """
        now = self._clock.seconds()
        self._log_offset = time - now
        age = self._now() - time
        if age > LEAP and delays_deletion:
            self._delay_ends = now + min(age, MAX_DELETION_DELAY)
            self._log.info("{text}", text=self.deletion_notice())

    @property
    def difference(self) -> float:
        """The seconds by which the time of day is ahead of what it should be, by its time at the start."""
        return self._now() - self._steady_now()

    @property
    def database_difference(self) -> float:
        """The seconds by which the time of day is ahead of the database's; 0 where that has no clock of its own."""
        return 0.0 if self._database_offset is None else self._now() - self._at(self._database_offset)

    @property
    def is_wrong(self) -> bool:
        """Whether another clock contradicts the time of day."""
        return self._warning(self._now()) is not None

    @property
    def may_delete_by_age(self) -> bool:
        """Whether the time of day is good enough to delete for ever what is too old by it."""
        return not self.is_wrong and self._clock.seconds() >= self._delay_ends

    def earliest_now(self) -> float:
        """The time of day by which stored things have expired; where clocks disagree, the earliest that it may be."""
        now = self._now()
        return min((now, *self._contradictions(now)))

    def latest_now(self) -> float:
        """The time of day from which a lifetime counts that is stored; where clocks disagree, the latest that it may be."""
        now = self._now()
        return max((now, *self._contradictions(now)))

    def deletion_now(self) -> float:
        """The time of day by which something may be forgotten for ever: as `earliest_now`, or earlier.

        While deletions are delayed, it is the time by the newest entry of the log.
        """
        if self._log_offset is None or self._clock.seconds() >= self._delay_ends:
            return self.earliest_now()
        return min(self.earliest_now(), self._at(self._log_offset))

    def time_behind(self) -> float:
        """The seconds by which the time of day is behind the latest that it may be."""
        return self.latest_now() - self._now()

    def warning(self) -> str | None:
        """What an operator should know, if anything."""
        return self._warning(self._now())

    def deletion_notice(self) -> str | None:
        """Why nothing is deleted for its age, although no clock contradicts the time of day; or `None`."""
        left = self._delay_ends - self._clock.seconds()
        if self._log_offset is None or left <= 0:
            return None
        return (
            "At the start, the newest entry of the log seemed old: nothing was stored for a while, or the time of day "
            f"is ahead.  Nothing is pruned for its age for another {left:.0f} s; PRUNING_STEP=none does not wait"
        )

    def _warning(self, now: float) -> str | None:
        ahead = now - self._steady_now()
        if abs(ahead) > LEAP:
            return (
                f"The time of day has been set {'forward' if ahead > 0 else 'back'} by {abs(ahead):.0f} s since the start: "
                "nothing is pruned for its age, and nothing expires early, until it is right again or the server is restarted"
            )
        if self._database_offset is not None:
            ahead = now - self._at(self._database_offset)
            if abs(ahead) > LEAP:
                return (
                    f"The time of day is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the database's: "
                    "nothing is pruned for its age, and nothing expires early, until the two clocks agree"
                )
        elif self._log_offset is not None:
            behind = self._at(self._log_offset) - now
            if behind > LEAP:
                return (
                    f"The time of day is {behind:.0f} s behind that of the log's newest entry at the start: it is wrong, "
                    "or was ahead then.  Nothing is pruned for its age until it is right or the server is restarted"
                )
        return None

    def _contradictions(self, now: float) -> Iterator[float]:
        """The times of day by those clocks that contradict it."""
        others = [self._steady_now()]
        if self._database_offset is not None:
            others.append(self._at(self._database_offset))
        elif self._log_offset is not None:
            others.append(max(now, self._at(self._log_offset)))  # it is hardly earlier than that
        return (other for other in others if abs(other - now) > LEAP)

    def _at(self, offset: float) -> float:
        return offset + self._clock.seconds()

    def _steady_now(self) -> float:
        return self._at(self._offset)

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
