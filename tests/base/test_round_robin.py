"""A queue in which each owner has its turn."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.round_robin import RoundRobinQueue


class RoundRobinTests(SynchronousTestCase):
    def test_the_newest_of_the_one_that_has_most(self) -> None:
        queue: RoundRobinQueue[int] = RoundRobinQueue()
        for n, owner in enumerate("abba"):
            queue.enqueue(n, owner)
        queue.enqueue(4, "b")
        self.assertEqual([queue.pop_newest() for _ in range(2)], [4, 3])
        self.assertEqual((len(queue), queue.count_of("a"), queue.count_of("b")), (3, 1, 2))
        self.assertEqual([queue.dequeue() for _ in range(4)], [0, 1, 2, None])

    def test_nothing_waits(self) -> None:
        self.assertRaises(ValueError, RoundRobinQueue[int]().pop_newest)
