"""When a peer is read: exact to the byte, and to the reason."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.read_throttle import TURN, ReadThrottle
from multiproto.core.ratelimit.token_bucket import Rate


class ReadThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_800_000_000.0
        self.said: list[str] = []
        self.throttle = self.make(Rate(1000, 100))

    def make(self, rate: Rate | None) -> ReadThrottle:
        return ReadThrottle(
            lambda: self.said.append("pause"), lambda: self.said.append("resume"), rate, self.clock
        )

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        self.throttle.charge(100)
        self.assertEqual(self.said, [])
        self.throttle.charge(1)
        self.assertEqual(self.said, ["pause"])
        self.clock.advance(0.0009)
        self.assertEqual(self.said, ["pause"])
        self.clock.advance(0.0002)
        self.assertEqual(self.said, ["pause", "resume"])

    def test_what_comes_meanwhile_is_waited_for_too(self) -> None:
        """Some of it was read already."""
        self.throttle.charge(200)
        self.throttle.charge(100)
        self.clock.advance(0.11)
        self.assertEqual(self.said, ["pause"])
        self.clock.advance(0.1)
        self.assertEqual(self.said, ["pause", "resume"])

    def test_the_last_of_several_reasons_counts(self) -> None:
        self.throttle.pause("a")
        self.throttle.charge(150)
        self.throttle.resume("a")
        self.assertEqual(self.said, ["pause"])
        self.throttle.pause("a")
        self.clock.advance(1)
        self.assertEqual(self.said, ["pause"])
        self.throttle.resume("a")
        self.throttle.resume("a")
        self.assertEqual(self.said, ["pause", "resume"])

    def test_nothing_is_left_at_the_end(self) -> None:
        self.throttle.charge(200)
        self.throttle.stop()
        self.throttle.charge(200)
        self.assertEqual((self.said, self.clock.getDelayedCalls()), (["pause"], []))

    def test_at_the_end_it_pauses_for_a_turn_only(self) -> None:
        self.throttle.stop()
        self.throttle.pause("a")
        self.assertEqual(self.said, [])
        self.throttle.pause(TURN)
        self.throttle.resume(TURN)
        self.assertEqual(self.said, ["pause", "resume"])

    def test_without_a_rate(self) -> None:
        self.make(None).charge(10**9)
        self.assertEqual(self.said, [])
