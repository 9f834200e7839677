"""Twisted's epoll reactor with less overhead for each event, and a bounded number of events in a turn.

Stock epoll handles all ready events at once: a thousand packets, or a thousand
connections that end, delay every timer and every answer until the last one.
And it calls each through four functions that record the event's owner for
Twisted's older log, which ours does not show.

Stock timers go by the time of day: if that is set back by an hour, none is due
for an hour.  Ours go by the time since the machine was started
(docs/decisions/029-two-clocks.md).

Bought, in CPU of an answer to a PING over TCP: 25.6 to 21.5 µs; the longest turn
while 1,000 clients come or go (docs/decisions/023-reactor.md).
"""

from __future__ import annotations

import time
from functools import partial
from time import perf_counter
from typing import Callable

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

MAX_EVENTS_PER_TURN = 100  # events in a turn, of some 0.1 ms each at worst


def steady_clock() -> Callable[[], float]:
    """A clock that nobody sets: seconds since the machine was started, the time that it was suspended included."""
    try:
        time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):  # not on Linux
        return time.monotonic
    return partial(time.clock_gettime, time.CLOCK_BOOTTIME)


class BoundedEpollReactor(EPollReactor):
    """Handles at most `MAX_EVENTS_PER_TURN` events in a turn, and notes when the turn began."""

    turn_started_at = 0.0  # by `time.perf_counter`
    is_idle = True  # nothing was ready when the turn began
    # Twisted's methods and delayed calls read the time by this attribute alone.
    seconds = staticmethod(steady_clock())  # by any origin: for intervals only

    _log = Logger()

    def doPoll(self, timeout: float | None) -> None:
        """Handle one turn's events; the next turn begins with those beyond the limit: epoll keeps order."""
        events = self._poller.poll(-1 if timeout is None else timeout, MAX_EVENTS_PER_TURN)
        self.turn_started_at, self.is_idle = perf_counter(), not events
        for fd, event in events:
            selectable = self._selectables.get(fd)
            if selectable is None:
                continue  # an event before this one has closed it
            try:
                self._doReadOrWrite(selectable, fd, event)
            except Exception:
                self._log.failure("the end of a connection broke")

    doIteration = doPoll


def install() -> None:
    """Make it the reactor of this process."""
    installReactor(BoundedEpollReactor())
