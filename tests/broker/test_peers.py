"""Which instances are on another Redis, from what they say in the log and through Redis."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.broker.peers import FORGET_AFTER, GRACE, Peers


class PeersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.subscribed, self.noticed = Clock(), True, 0
        self.clock.advance(1000)
        self.peers = Peers(self.clock, lambda seconds: self.subscribed, self.notice)

    def notice(self) -> None:
        self.noticed += 1

    @property
    def counts(self) -> tuple[int, int]:
        return self.peers.missing, self.peers.reached

    def test_one_whose_announcement_came_is_reached(self) -> None:
        self.peers.on_received("a", 1)
        self.peers.on_logged("a", 1)
        self.clock.advance(GRACE)
        self.assertEqual((self.counts, self.noticed), ((0, 1), 0))

    def test_an_announcement_may_come_a_little_later(self) -> None:
        self.peers.on_logged("a", 1)
        self.clock.advance(GRACE - 0.1)
        self.peers.on_received("a", 1)
        self.clock.advance(GRACE)
        self.assertEqual((self.counts, self.noticed), ((0, 1), 0))

    def test_one_whose_announcement_does_not_come_is_missing_until_one_comes(self) -> None:
        self.peers.on_received("a", 1)
        for number in (2, 3):
            self.peers.on_logged("a", number)
            self.clock.advance(GRACE)
            self.assertEqual((self.counts, self.noticed), ((1, 0), 1))
        self.peers.on_received("a", 2)
        self.assertEqual(self.counts, (1, 0))
        self.peers.on_received("a", 4)
        self.assertEqual(self.counts, (0, 1))

    def test_one_that_says_twice_that_it_has_no_redis_is_not_missing(self) -> None:
        """Once may be while it connects anew."""
        self.peers.on_logged("a", 1)
        self.clock.advance(GRACE)
        self.peers.on_logged("a", 0)
        self.assertEqual(self.counts, (1, 0))
        self.peers.on_logged("a", 0)
        self.assertEqual(self.counts, (0, 0))

    def test_one_that_admits_it_in_time_never_was(self) -> None:
        self.peers.on_logged("a", 1)
        self.peers.on_logged("a", 0)
        self.clock.advance(GRACE)
        self.assertEqual((self.counts, self.noticed), ((0, 0), 0))

    def test_one_that_has_ended_is_forgotten(self) -> None:
        self.peers.on_logged("a", 1)
        self.clock.advance(GRACE)
        self.clock.advance(FORGET_AFTER)
        self.assertEqual(self.counts, (0, 0))

    def test_who_was_not_subscribed_blames_nobody(self) -> None:
        self.subscribed = False
        self.peers.on_logged("a", 1)
        self.clock.advance(GRACE)
        self.assertEqual((self.counts[0], self.noticed), (0, 0))
