"""The follower: every entry, in order, once, whatever hints are lost."""

from __future__ import annotations

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker.follower import PAGE, POLL, Follower
from multiproto.core.audience import Audience
from multiproto.core.wire import Delivery

from ..fakes import Notes


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
        self.notes.answer()
        self.notes.answer()
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
        self.notes.answer()
        self.successResultOf(done)
        self.assertEqual(self.heard(), [4])
        self.follower.wake()
        self.assertEqual((self.notes.reads, self.clock.getDelayedCalls()), (1, []))
