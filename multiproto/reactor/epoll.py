"""Twisted's epoll reactor with less overhead for each event, a bounded number of events in a turn, and an order in it.

Stock epoll handles all ready events at once: a thousand packets, or a thousand
connections that end, delay every timer and every answer until the last one.
And it calls each through four functions that record the event's owner for
Twisted's older log, which ours does not show.

A turn has two steps: calls from threads and timers, and then events.  What either
wrote is sent right after it (`call_after_step`), and what has waited for its turn
follows when all of that is sent (`call_before_poll`): so an answer never waits
behind the work of others, as it would if both were timers.

Stock timers go by the time of day: if that is set back by an hour, none is due
for an hour.  Ours go by the time since the machine was started
(docs/decisions/029-two-clocks.md).

Bought, in CPU of an answer to a PING over TCP: 25.6 to 21.5 µs; the longest turn
while 1,000 clients come or go (docs/decisions/023-reactor.md).
"""

from __future__ import annotations

import gc
import sys
import time
from functools import partial
from time import perf_counter
from typing import Callable

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.logger import Logger

from .garbage import collect, is_collection_due

# Seconds after which another thread goes on, while long pieces of work wait.  A thread that commits needs the
# interpreter's lock some twenty times for each commit, and waits for so long each time.  While anything waited,
# lists by GraphQL on 28 connections cost a quarter more.
BUSY_SWITCH_INTERVAL = 0.0001
IDLE_TIME = 0.05  # seconds that the reactor slept at last, where there is likely time for all of the garbage
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
    has_long_work = False  # long pieces of work wait for their turn
    # Twisted's methods and delayed calls read the time by this attribute alone.
    seconds = staticmethod(steady_clock())  # by any origin: for intervals only

    _log = Logger()

    def __init__(self) -> None:
        self._after_step: list[Callable[[], object]] = []
        self._before_poll: list[Callable[[], object]] = []
        self._usual_switch_interval: float | None = None  # while it is not in force
        self._collects_garbage = False
        self._collected_at = 0.0  # when the turn began after which garbage was collected
        self._slept = 0.0  # seconds before the last event
        super().__init__()

    def call_after_step(self, function: Callable[[], object]) -> None:
        """Call `function` once, after the events, or the timers and calls from threads, that are being handled."""
        self._after_step.append(function)

    def call_before_poll(self, function: Callable[[], object]) -> None:
        """Call `function` once, before the reactor looks for events again, when what was written has been sent."""
        self._before_poll.append(function)

    def collect_garbage_between_turns(self) -> None:
        """From now on garbage is collected between turns only, that of other threads, too."""
        gc.disable()
        self._collects_garbage, self._collected_at = True, perf_counter()

    def doPoll(self, timeout: float | None) -> None:
        """Handle one turn's events; the next turn begins with those beyond the limit: epoll keeps order."""
        if self._after_step:
            self._call_each(self._after_step)
        if self._before_poll:
            self._call_each(self._before_poll)
            self._share_interpreter(self.has_long_work)
        if self._after_step or self._before_poll:
            timeout = 0
        if self._collects_garbage and is_collection_due(self.turn_started_at - self._collected_at):
            self._collected_at = self.turn_started_at
            has_slept = self._slept >= IDLE_TIME
            collect(is_idle=lambda: has_slept and timeout != 0 and not self._poller.poll(0, 1))
        polled_at = perf_counter()
        events = self._poller.poll(-1 if timeout is None else timeout, MAX_EVENTS_PER_TURN)
        self.turn_started_at, self.is_idle = perf_counter(), not events
        self._slept = self.turn_started_at - polled_at
        for fd, event in events:
            selectable = self._selectables.get(fd)
            if selectable is None:
                continue  # an event before this one has closed it
            try:
                self._doReadOrWrite(selectable, fd, event)
            except Exception:
                self._log.failure("the end of a connection broke")
        if self._after_step:
            self._call_each(self._after_step)

    def _share_interpreter(self, has_long_work: bool) -> None:
        """Let other threads go on sooner, as long as there is always something long to do here."""
        if has_long_work and self._usual_switch_interval is None:
            self._usual_switch_interval = sys.getswitchinterval()
            sys.setswitchinterval(BUSY_SWITCH_INTERVAL)
        elif not has_long_work and self._usual_switch_interval is not None:
            sys.setswitchinterval(self._usual_switch_interval)
            self._usual_switch_interval = None

    def _call_each(self, functions: list[Callable[[], object]]) -> None:
        """Call and remove `functions`; what is added meanwhile stays."""
        due = functions.copy()
        functions.clear()
        for function in due:
            try:
                function()
            except Exception:
                self._log.failure("what was to be done in this turn broke")

    doIteration = doPoll


def install() -> None:
    """Make it the reactor of this process."""
    installReactor(BoundedEpollReactor())
