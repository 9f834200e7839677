"""Waiters are released together, once, and a cancelled one is forgotten."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.waiters import Waiters


class WaitersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.waiters: Waiters[str] = Waiters()

    def test_all_are_released_in_order(self) -> None:
        released: list[str] = []
        for name in "ab":
            self.waiters.wait().addCallback(lambda value, name=name: released.append(name + value))
        self.waiters.release("!")
        self.assertEqual((released, len(self.waiters)), (["a!", "b!"], 0))

    def test_the_first_alone(self) -> None:
        first, second = self.waiters.wait(), self.waiters.wait()
        self.waiters.release_first("x")
        self.assertEqual(self.successResultOf(first), "x")
        self.assertNoResult(second)

    def test_waiting_again_waits_for_the_next_release(self) -> None:
        again: list[Deferred[str]] = []
        self.waiters.wait().addCallback(lambda _: again.append(self.waiters.wait()))
        self.waiters.release("now")
        self.assertNoResult(again[0])
        self.waiters.release("then")
        self.assertEqual(self.successResultOf(again[0]), "then")

    def test_a_failure_reaches_all(self) -> None:
        both = self.waiters.wait(), self.waiters.wait()
        self.waiters.fail(Failure(OSError("away")))
        for each in both:
            self.assertEqual(str(self.failureResultOf(each, OSError).value), "away")

    def test_a_cancelled_one_is_forgotten(self) -> None:
        cancelled, other = self.waiters.wait(), self.waiters.wait()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(len(self.waiters), 1)
        self.waiters.release("x")
        self.assertEqual(self.successResultOf(other), "x")

    def test_one_that_times_out_is_forgotten(self) -> None:
        clock = Clock()
        waiter = self.waiters.wait().addTimeout(1.0, clock)
        clock.advance(1.0)
        self.failureResultOf(waiter)
        self.assertEqual(len(self.waiters), 0)
