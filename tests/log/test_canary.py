"""Readiness: only while what is written comes back."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.log.canary import FRESH_FOR, INTERVAL, START_TIMEOUT, Canary

from ..fakes import MemoryLog, sequential_ids


class CanaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.log, self.dispatcher = Clock(), MemoryLog(), Dispatcher()
        self.clock.advance(100)
        self.canary = Canary(self.log, self.dispatcher, self.clock, self.clock.seconds, sequential_ids("c"))

    def follow(self) -> None:
        """As a follower would."""
        for entry in self.log.entries[self.dispatcher.position :]:
            self.dispatcher.dispatch_logged(entry)

    def pass_seconds(self, seconds: float) -> None:
        self.clock.pump([INTERVAL] * int(seconds / INTERVAL) + [seconds % INTERVAL])

    def test_a_start_waits_for_the_first_one(self) -> None:
        started = self.canary.startService()
        self.assertNoResult(started)
        self.assertFalse(self.canary.is_fresh)
        self.follow()
        self.successResultOf(started)
        self.assertTrue(self.canary.is_fresh)

    def test_a_start_waits_so_long(self) -> None:
        started = self.canary.startService()
        self.clock.advance(START_TIMEOUT)
        self.successResultOf(started)
        self.assertFalse(self.canary.is_fresh)

    def test_one_counts_for_ten_seconds_from_when_it_was_sent(self) -> None:
        self.canary.startService()
        self.clock.advance(1)
        self.follow()
        self.pass_seconds(FRESH_FOR - 1)
        self.assertTrue(self.canary.is_fresh)
        self.clock.advance(0.001)
        self.assertFalse(self.canary.is_fresh)
        self.follow()
        self.assertTrue(self.canary.is_fresh)

    def test_a_store_that_refuses_or_hangs_makes_us_unready_until_it_is_back(self) -> None:
        self.canary.startService()
        self.follow()
        for fault in ("away", "slow"):
            setattr(self.log, fault, True)
            self.log.entries.clear()
            self.dispatcher.position = 0
            self.pass_seconds(FRESH_FOR + INTERVAL)
            self.assertFalse(self.canary.is_fresh)
            setattr(self.log, fault, False)
            self.pass_seconds(INTERVAL)
            self.follow()
            self.assertTrue(self.canary.is_fresh)

    def test_another_instances_proves_nothing(self) -> None:
        other = Canary(self.log, self.dispatcher, self.clock, self.clock.seconds, sequential_ids("d"))
        other.startService()
        self.canary.startService()
        self.log.entries.pop()
        self.follow()
        self.assertEqual((other.is_fresh, self.canary.is_fresh), (True, False))

    def test_a_stop_leaves_nothing(self) -> None:
        self.canary.startService()
        self.follow()
        self.canary.stopService()
        self.assertEqual((self.clock.getDelayedCalls(), self.dispatcher.is_empty), ([], True))
