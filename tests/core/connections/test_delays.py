"""What waits on behalf of a connection goes on in the order in which it began to wait."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.delays import Delays


class DelaysTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.delays = Delays(self.clock)
        self.went_on: list[str] = []

    def wait(self, name: str, seconds: float) -> None:
        self.delays.wait(seconds).addCallback(lambda _: self.went_on.append(name))

    def test_each_waits_for_those_before_it(self) -> None:
        """Though it is told to wait for a shorter time, or not at all: a limit may have come to know better meanwhile."""
        for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 0.0), ("d", 4.0), ("e", 4.0)):
            self.wait(name, seconds)
        seen = []
        for _ in range(5):
            seen.append("".join(self.went_on))
            self.clock.advance(1)
        self.assertEqual(seen, ["", "", "", "abc", "abcde"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_who_need_not_wait_does_not_where_nobody_does(self) -> None:
        self.wait("a", 0.0)
        self.assertEqual(self.went_on, ["a"])
        self.wait("b", 1.0)
        self.clock.advance(1)
        self.wait("c", 0.0)
        self.assertEqual(self.went_on, ["a", "b", "c"])

    def test_at_the_end_all_go_on_in_their_order(self) -> None:
        for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 0.0)):
            self.wait(name, seconds)
        self.clock.advance(2)
        self.delays.end()
        self.assertEqual(self.went_on, ["a", "b", "c"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
