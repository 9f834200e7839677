"""A call that is due later, replaced or called off."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.calls = Clock(), list[str]()
        self.deadline = Deadline(self.clock)

    def set(self, seconds: float, name: str) -> None:
        self.deadline.set(seconds, lambda: self.calls.append(name))

    def test_it_is_called_once_when_its_time_has_come(self) -> None:
        self.set(2, "a")
        self.clock.pump([1.9, 0.1, 5])
        self.assertEqual(self.calls, ["a"])

    def test_a_new_one_replaces_it(self) -> None:
        self.set(2, "a")
        self.set(3, "b")
        self.clock.advance(9)
        self.assertEqual(self.calls, ["b"])

    def test_it_can_be_cancelled_at_any_time(self) -> None:
        self.deadline.cancel()
        self.set(2, "a")
        self.deadline.cancel()
        self.set(2, "b")
        self.clock.advance(2)
        self.deadline.cancel()
        self.assertEqual((self.calls, self.clock.getDelayedCalls()), (["b"], []))
