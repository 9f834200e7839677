"""Reads the database's time of day now and then, to compare it with ours, and at the start the age of the log.

One read every few seconds; nothing waits for it but the start, before anything
of this instance is in the log.
"""

from __future__ import annotations

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.timestamps import parse_timestamp
from ..core.errors import Refusal
from ..core.ports import Store
from ..core.transactions import Query, Row
from ..observe.wall_clock import CHECK_INTERVAL, WallClock


@define(eq=False, repr=False)
class ClockComparison(Service):
    """Tells the `WallClock` what the database knows of the time."""

    _store: Store
    _wall_clock: WallClock
    _clock: IReactorTime
    _delays_deletion: bool = True  # whether an old log does, at the start
    _loop: LoopingCall = field(init=False)

    _log = Logger()

    @_loop.default
    def _make_loop(self) -> LoopingCall:
        loop = LoopingCall(self._start_comparing)
        loop.clock = self._clock
        return loop

    def startService(self) -> Deferred[None]:
        """Fires once the clocks were compared."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    async def _start(self) -> None:
        times = await self._compare()
        if times["newest"] is not None:
            self._wall_clock.record_newest_entry(parse_timestamp(times["newest"]), self._delays_deletion)
        self._loop.start(CHECK_INTERVAL, now=False)

    def _start_comparing(self) -> Deferred[object]:
        return Deferred.fromCoroutine(self._compare()).addErrback(self._compare_failed)

    async def _compare(self) -> Row:
        """Compare the clocks; the database read its own about in the middle of our question to it."""
        began = self._clock.seconds()
        (times,) = (await self._store.read(Query("clocks"))).results[0]
        if times["now"] is not None:
            self._wall_clock.record_database_time(
                parse_timestamp(times["now"]), (began + self._clock.seconds()) / 2
            )
        return times

    def _compare_failed(self, failure: Failure) -> None:
        """The database is away; a failure that went on would end the loop."""
        if not failure.check(Refusal):
            self._log.failure("could not compare the clocks", failure)
