"""Who is next where many wait."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.fair_queue import FairQueue
from multiproto.core.errors import RateLimited, Unavailable


class FairQueueTests(SynchronousTestCase):
    def test_each_in_turn_and_in_order(self) -> None:
        """One who has much waiting is not before one who comes later with little."""
        turns: FairQueue[int] = FairQueue(100, 10)
        for n, whose in enumerate("aaabba"):
            turns.enqueue(n, whose)
        turns.enqueue(6, "c")
        self.assertEqual([turns.dequeue() for _ in range(8)], [0, 3, 6, 1, 4, 2, 5, None])
        self.assertEqual(len(turns), 0)

    def test_a_share_and_one_past_it(self) -> None:
        turns: FairQueue[int] = FairQueue(3, 2)
        for n in range(2):
            turns.enqueue(n, "a")
        with self.assertRaises(RateLimited) as caught:
            turns.enqueue(2, "a")
        self.assertEqual(caught.exception.retry_after, 1.0)
        turns.enqueue(2, "b")
        with self.assertRaises(Unavailable):
            turns.enqueue(3, "c")
        turns.dequeue()
        turns.enqueue(4, "a")
