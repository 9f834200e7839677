"""The follower: every entry, in order, once, whatever hints are lost."""

from __future__ import annotations

from attrs import Factory, define
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker.follower import PAGE, POLL, Follower
from multiproto.core.audience import Audience
from multiproto.core.errors import Unavailable
from multiproto.core.model import timestamp
from multiproto.core.ports import Entry, Event
from multiproto.core.wire import Delivery


@define(eq=False)
class Notes:
    """A log in memory; `slow` holds its answers back, `away` fails them."""

    entries: list[Entry] = Factory(list)
    slow: bool = False
    away: bool = False
    waiting: list[Deferred[None]] = Factory(list)
    reads: int = 0

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            position = len(self.entries) + 1
            event = Event(f"e{position}", "user.created", ("users",), {"n": position}, "u", timestamp(5))
            self.entries.append(Entry(position, f"cursor{position}", event))

    async def head(self) -> tuple[int, str]:
        return len(self.entries), f"cursor{len(self.entries)}"

    async def after(self, position: int, limit: int) -> tuple[Entry, ...]:
        self.reads += 1
        page = tuple(self.entries[position : position + limit])
        if self.slow:
            self.waiting.append(Deferred())
            await self.waiting[-1]
        if self.away:
            raise Unavailable("the database is away")
        return page


class Ear:
    def __init__(self) -> None:
        self.heard: list[Delivery] = []

    def hear(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True


class FollowerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.notes, self.audience, self.ear = Clock(), Notes(), Audience(), Ear()
        self.audience.add("users", self.ear)
        self.follower = Follower(self.notes, self.audience, self.clock)
        self.notes.write(3)
        self.successResultOf(self.follower.startService())

    def heard(self) -> list[int | None]:
        return [delivery.content["n"] for delivery in self.ear.heard]  # type: ignore[index]

    def test_it_begins_at_the_head(self) -> None:
        self.assertEqual(self.audience.cursor, "cursor3")
        self.notes.write()
        self.follower.wake()
        self.assertEqual(self.heard(), [4])
        self.assertEqual((self.ear.heard[0].cursor, self.ear.heard[0].at), ("cursor4", 5.0))

    def test_a_lost_hint_costs_a_poll(self) -> None:
        self.notes.write()
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL)
        self.assertEqual(self.heard(), [4])

    def test_more_than_a_page(self) -> None:
        self.notes.write(2 * PAGE + 1)
        self.follower.wake()
        self.assertEqual(self.heard(), list(range(4, 2 * PAGE + 5)))

    def test_woken_while_reading(self) -> None:
        """What was written behind the page being read is told by the next; nothing is told twice."""
        self.notes.slow = True
        self.notes.write()
        self.follower.wake()
        self.notes.write()
        self.follower.wake()
        self.follower.wake()
        while self.notes.waiting:
            self.notes.waiting.pop(0).callback(None)
        self.assertEqual(self.heard(), [4, 5])
        self.assertEqual(self.notes.reads, 2)

    def test_a_log_that_is_away_comes_back(self) -> None:
        self.notes.away = True
        self.notes.write()
        self.clock.advance(POLL)
        self.notes.away = False
        self.assertEqual(self.heard(), [])
        self.clock.advance(POLL)
        self.assertEqual(self.heard(), [4])

    def test_stopping_waits_for_the_page_being_read(self) -> None:
        self.notes.slow = True
        self.notes.write()
        self.follower.wake()
        done = maybeDeferred(self.follower.stopService)
        self.assertNoResult(done)
        self.notes.waiting.pop().callback(None)
        self.successResultOf(done)
        self.assertEqual(self.heard(), [4])
        self.follower.wake()
        self.assertEqual((self.notes.reads, self.clock.getDelayedCalls()), (1, []))
