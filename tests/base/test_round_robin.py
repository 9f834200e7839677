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

    def test_all_of_one_owner_are_moved(self) -> None:
        """Behind those that it has there already; others stay."""
        queue, other = RoundRobinQueue[int](), RoundRobinQueue[int]()
        for n, owner in enumerate("aba"):
            queue.enqueue(n, owner)
        other.enqueue(3, "a")
        for owner in ("a", "nobody"):
            queue.move(owner, other)
        self.assertEqual((len(queue), len(other)), (1, 3))
        self.assertEqual([queue.dequeue() for _ in range(2)], [1, None])
        self.assertEqual([other.dequeue() for _ in range(4)], [3, 0, 2, None])

    def test_one_may_go_before_the_others_of_its_owner(self) -> None:
        queue: RoundRobinQueue[int] = RoundRobinQueue()
        queue.enqueue(0, "a")
        queue.enqueue(1, "a", first=True)
        queue.enqueue(2, "b", first=True)
        self.assertEqual([queue.dequeue() for _ in range(4)], [1, 2, 0, None])

    def test_nothing_waits(self) -> None:
        self.assertRaises(ValueError, RoundRobinQueue[int]().pop_newest)
