"""When an instance counts as stale: at the limit, and one past it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Unavailable
from multiproto.core.pubsub.log_freshness import COMMAND_GRACE, STALE_AFTER, LogFreshness


class LogFreshnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.freshness = LogFreshness(self.clock)

    def wait_until_current(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.freshness.wait_until_current())

    def test_an_instance_that_never_followed_the_log_is_not_stale(self) -> None:
        self.clock.advance(1000)
        self.assertFalse(self.freshness.is_stale)
        self.successResultOf(self.wait_until_current())

    def test_a_second_without_a_read_is_not_stale_yet(self) -> None:
        self.freshness.mark_current(0.0)
        self.clock.advance(STALE_AFTER)
        self.assertFalse(self.freshness.is_stale)
        self.clock.advance(0.001)
        self.assertTrue(self.freshness.is_stale)

    def test_a_look_counts_from_when_it_began(self) -> None:
        self.freshness.mark_current(0.0)
        self.clock.advance(3)
        self.freshness.mark_current(1.5)
        self.assertTrue(self.freshness.is_stale)
        self.freshness.mark_current(2.5)
        self.assertFalse(self.freshness.is_stale)

    def test_a_command_waits_until_the_log_was_read(self) -> None:
        self.freshness.mark_current(0.0)
        self.clock.advance(STALE_AFTER + COMMAND_GRACE / 2)
        waiting = [self.wait_until_current(), self.wait_until_current()]
        self.assertNoResult(waiting[0])
        self.freshness.mark_current(self.clock.seconds())
        for each in waiting:
            self.successResultOf(each)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_command_waits_so_long_and_is_refused(self) -> None:
        self.freshness.mark_current(0.0)
        self.clock.advance(STALE_AFTER + 0.1)
        waiting = self.wait_until_current()
        self.clock.advance(COMMAND_GRACE - 0.101)
        self.assertNoResult(waiting)
        self.clock.advance(0.002)
        self.failureResultOf(waiting, Unavailable)
        self.clock.advance(10)
        at_once = self.wait_until_current()
        self.clock.advance(0)
        self.failureResultOf(at_once, Unavailable)
