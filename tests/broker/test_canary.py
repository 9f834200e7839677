"""Readiness: only while what is written comes back."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker.canary import EVERY, FRESH, START_WITHIN, Canary
from multiproto.core.audience import Audience

from ..fakes import Notes, ids


class CanaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.notes, self.audience = Clock(), Notes(), Audience()
        self.clock.advance(100)
        self.canary = Canary(self.notes, self.audience, self.clock, ids("c"))

    def follow(self) -> None:
        """As a follower would."""
        for entry in self.notes.entries[self.audience.position :]:
            self.audience.tell_entry(entry)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([EVERY] * int(seconds / EVERY) + [seconds % EVERY])

    def test_a_start_waits_for_the_first_one(self) -> None:
        started = self.canary.startService()
        self.assertNoResult(started)
        self.assertFalse(self.canary.fresh)
        self.follow()
        self.successResultOf(started)
        self.assertTrue(self.canary.fresh)

    def test_a_start_waits_so_long(self) -> None:
        started = self.canary.startService()
        self.clock.advance(START_WITHIN)
        self.successResultOf(started)
        self.assertFalse(self.canary.fresh)

    def test_one_counts_for_ten_seconds_from_when_it_was_sent(self) -> None:
        self.canary.startService()
        self.clock.advance(1)
        self.follow()
        self.pass_seconds(FRESH - 1)
        self.assertTrue(self.canary.fresh)
        self.clock.advance(0.001)
        self.assertFalse(self.canary.fresh)
        self.follow()
        self.assertTrue(self.canary.fresh)

    def test_a_store_that_refuses_or_hangs_makes_us_unready_until_it_is_back(self) -> None:
        self.canary.startService()
        self.follow()
        for fault in ("away", "slow"):
            setattr(self.notes, fault, True)
            self.notes.entries.clear()
            self.audience.position = 0
            self.pass_seconds(FRESH + EVERY)
            self.assertFalse(self.canary.fresh)
            setattr(self.notes, fault, False)
            self.pass_seconds(EVERY)
            self.follow()
            self.assertTrue(self.canary.fresh)

    def test_another_instances_proves_nothing(self) -> None:
        other = Canary(self.notes, self.audience, self.clock, ids("d"))
        other.startService()
        self.canary.startService()
        self.notes.entries.pop()
        self.follow()
        self.assertEqual((other.fresh, self.canary.fresh), (True, False))

    def test_a_stop_leaves_nothing(self) -> None:
        self.canary.startService()
        self.follow()
        self.canary.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.audience.empty), ([], True))
