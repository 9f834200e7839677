"""How far instances have delivered the log, as they tell each other on a real PostgreSQL."""

from __future__ import annotations

import psycopg
from twisted.internet.task import Clock

from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.transactions import Event, Unit
from multiproto.log.instance_positions import ALIVE_FOR, INTERVAL, InstancePositions

from ..storage.units import at
from .cases import DatabaseCase


class PositionTests(DatabaseCase):
    async def instance(self, id: str) -> InstancePositions:
        made = InstancePositions(self.store, Dispatcher(), self.clock, id)
        await made.startService()
        self.addCleanup(lambda: made._loop.stop() if made._loop.running else None)
        return made

    async def noted(self) -> None:
        """Each has noted its position, as it does every few seconds."""
        self.clock.advance(INTERVAL)
        await self.store.commit(Unit(()))  # behind the notes

    def age(self, id: str, seconds: float) -> None:
        with psycopg.connect(self.conninfo) as database:
            database.execute(
                "UPDATE instances SET seen_at = seen_at - make_interval(secs => %s) WHERE id = %s",
                (seconds, id),
            )

    async def append(self, count: int) -> None:
        for number in range(count):
            await self.store.commit(
                Unit((), (Event(f"e{self.appended + number}", "t", ("users",), None, "", at(0), "users.**"),))
            )
        self.appended += count

    async def prepare(self) -> None:
        self.clock, self.appended = Clock(), 0
        self.store = await self.make_store()

    async def test_the_slowest_of_those_that_live_counts(self) -> None:
        await self.prepare()
        await self.append(3)
        one = await self.instance("one")
        self.assertEqual(await one.slowest(), 3)  # it begins at the head
        await self.append(4)
        two = await self.instance("two")
        two._dispatcher.position = 9
        one._dispatcher.position = 5
        await self.noted()
        self.assertEqual(await two.slowest(), 5)
        one._dispatcher.position = 12
        await self.noted()
        self.assertEqual(await two.slowest(), 9)

    async def test_one_that_was_not_seen_for_long_does_not_and_is_forgotten_at_the_next_start(self) -> None:
        await self.prepare()
        await self.instance("dead")
        await self.append(1)
        one = await self.instance("one")
        self.age("dead", ALIVE_FOR - 60)
        self.assertEqual(await one.slowest(), 0)
        self.age("dead", 60)
        self.assertEqual(await one.slowest(), 1)
        await self.instance("two")
        with psycopg.connect(self.conninfo) as database:
            found = database.execute("SELECT id FROM instances ORDER BY id").fetchall()
        self.assertEqual(found, [("one",), ("two",)])

    async def test_one_that_has_stopped_does_not(self) -> None:
        await self.prepare()
        one, two = await self.instance("one"), await self.instance("two")
        await self.append(2)
        two._dispatcher.position = 2
        await self.noted()
        self.assertEqual(await two.slowest(), 0)
        await one.stopService()
        self.assertEqual(await two.slowest(), 2)
        await two.stopService()
        self.assertIsNone(await two.slowest())

    async def test_a_database_that_is_away_holds_up_neither_the_notes_nor_the_end(self) -> None:
        await self.prepare()
        one = await self.instance("one")
        await self.store.stopService()
        self.clock.advance(INTERVAL)
        self.clock.advance(INTERVAL)
        self.assertTrue(one._loop.running)
        await one.stopService()
