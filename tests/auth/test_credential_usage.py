"""Uses of credentials: recorded in memory, written once a minute, and never waited for."""

from __future__ import annotations

from typing import Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.credential_usage import BATCH_SIZE, WRITE_INTERVAL, CredentialUsage
from multiproto.base.timestamps import format_timestamp
from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Query, Snapshot, Step, Unit

Written = list[tuple[str, str, str]]  # id, when, from where


@define(eq=False)
class Store:
    """Keeps the units; `slow` holds its answers back, `away` refuses."""

    units: list[Unit] = Factory(list)
    slow: bool = False
    away: bool = False
    waiting: list[Deferred[str]] = Factory(list)

    async def commit(self, unit: Unit) -> str:
        self.units.append(unit)
        if self.away:
            raise Unavailable("The database is away")
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        return "cursor"

    async def read(self, *queries: Query) -> Snapshot:
        raise AssertionError(queries)

    def cursor_of(self, position: int) -> str:
        raise AssertionError(position)

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        raise AssertionError(positions)


class CredentialUsageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Store()
        self.usage = CredentialUsage(self.store, self.clock, self.clock.seconds, 1000)
        self.usage.startService()

    def use(self, name: str, host: str = "192.0.2.1") -> None:
        self.usage.record(f"id-{name}", host)

    def written(self) -> list[Written]:
        units, self.store.units = self.store.units, []
        return [[self.shown(step) for step in unit.steps] for unit in units]

    def shown(self, step: Step) -> tuple[str, str, str]:
        self.assertEqual((step.name, step.expected_rows), ("credential_used", None))
        return str(step.params["id"]), str(step.params["at"]), str(step.params["host"])

    def test_once_a_minute_with_the_latest_use_of_each(self) -> None:
        self.use("pump")
        self.clock.advance(30)
        self.use("pump", "192.0.2.2")
        self.use("lamp")
        self.assertEqual(self.written(), [])
        self.clock.advance(30)
        at = format_timestamp(30)
        self.assertEqual(self.written(), [[("id-pump", at, "192.0.2.2"), ("id-lamp", at, "192.0.2.1")]])
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(self.written(), [])  # none was used

    def test_nobody_waits_for_a_slow_store(self) -> None:
        self.store.slow = True
        self.use("pump")
        self.clock.advance(WRITE_INTERVAL)
        self.use("lamp")
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual([len(unit) for unit in self.written()], [1])  # the next write waits for it
        self.store.slow = False
        self.store.waiting.pop().callback("cursor")
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual([unit[0][0] for unit in self.written()], ["id-lamp"])

    def test_what_can_not_be_written_is_forgotten(self) -> None:
        self.store.away = True
        self.use("pump")
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual(len(self.written()), 1)
        self.store.away = False
        self.use("lamp")
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual([unit[0][0] for unit in self.written()], ["id-lamp"])

    def test_in_bites_that_leave_the_writer_free_for_others(self) -> None:
        for n in range(BATCH_SIZE + 1):
            self.use(f"d{n}")
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual([len(unit) for unit in self.written()], [BATCH_SIZE, 1])

    def test_memory_is_bounded(self) -> None:
        """One more than there is room for is not recorded."""
        self.usage = CredentialUsage(self.store, self.clock, self.clock.seconds, 2)
        self.usage.startService()
        for name in ("a", "b", "c", "a"):
            self.use(name)
        self.clock.advance(WRITE_INTERVAL)
        self.assertEqual([[id for id, _, _ in unit] for unit in self.written()], [["id-a", "id-b"]])

    def test_the_last_are_written_at_the_end(self) -> None:
        self.store.slow = True
        self.use("pump")
        self.clock.advance(WRITE_INTERVAL)
        self.use("lamp")
        stopped = self.usage.stopService()
        self.assertNoResult(stopped)
        for _ in range(2):
            self.store.waiting.pop().callback("cursor")
        self.successResultOf(stopped)
        self.assertEqual([unit[0][0] for unit in self.written()], ["id-pump", "id-lamp"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
