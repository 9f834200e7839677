"""Reads the database's time of day now and then, to compare it with ours, and at the start the age of the log.

One read every few seconds; nothing waits for it but the start, before anything
of this instance is in the log.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..base.timestamps import parse_timestamp
from ..core.ports import Store
from ..core.transactions import Query, Row
from ..observe.wall_clock import CHECK_INTERVAL, WallClock
from .periodic import PeriodicService


@define(eq=False, repr=False)
class ClockComparison(PeriodicService):
    """Tells the `WallClock` what the database knows of the time."""

    interval, failure_text, logs_refusals = CHECK_INTERVAL, "could not compare the clocks", False

    _store: Store
    _wall_clock: WallClock
    _clock: IReactorTime
    _delays_deletion: bool = True  # whether an old log does, at the start

    async def prepare(self) -> None:
        """Compare them once, and look how old the log is."""
        times = await self._compare()
        if times["newest"] is not None:
            self._wall_clock.record_newest_entry(parse_timestamp(times["newest"]), self._delays_deletion)

    async def run_round(self) -> None:
        await self._compare()

    async def _compare(self) -> Row:
        """Compare the clocks; the database read its own about in the middle of our question to it."""
        began = self._clock.seconds()
        (times,) = (await self._store.read(Query("clocks"))).results[0]
        if times["now"] is not None:
            self._wall_clock.record_database_time(
                parse_timestamp(times["now"]), (began + self._clock.seconds()) / 2
            )
        return times
