"""A queue in which each owner has its turn."""

from __future__ import annotations

import random
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.round_robin import RoundRobinQueue


class CountingOwner(str):
    """Counts how often any of its kind is looked up."""

    lookups = 0

    def __hash__(self) -> int:
        CountingOwner.lookups += 1
        return super().__hash__()


class RoundRobinTests(SynchronousTestCase):
    def test_the_newest_of_the_one_that_has_most(self) -> None:
        queue: RoundRobinQueue[int] = RoundRobinQueue()
        for n, owner in enumerate("abba"):
            queue.enqueue(n, owner)
        queue.enqueue(4, "b")
        self.assertEqual([queue.pop_newest() for _ in range(2)], [4, 3])
        self.assertEqual((len(queue), queue.count_of("a"), queue.count_of("b")), (3, 1, 2))
        self.assertEqual([queue.dequeue() for _ in range(4)], [0, 1, 2, None])

    def test_who_has_most_is_known_whatever_happened_meanwhile(self) -> None:
        """As many as the one that has most, if all are counted."""
        chance = random.Random(1)
        queue, other, waiting = RoundRobinQueue[str](), RoundRobinQueue[str](), Counter[str]()
        for _ in range(5_000):
            owner = chance.choice("abcdefgh")
            match chance.randrange(12):
                case 0:
                    queue.move(owner, other)
                    waiting[owner] = 0
                case 1:
                    waiting -= Counter(queue.pop_while(lambda item: chance.random() < 0.2))
                case 2 | 3 | 4 | 5:
                    waiting -= Counter(filter(None, [queue.dequeue()]))
                case 6 if queue:
                    waiting[queue.pop_newest()] -= 1
                case _:
                    queue.enqueue(owner, owner, first=chance.random() < 0.5)
                    waiting[owner] += 1
            if queue and chance.random() < 0.7:
                self.assertEqual(waiting[queue.greediest], max(waiting.values()))
        self.assertEqual(len(queue), waiting.total())

    def test_who_has_most_is_not_searched_among_all_each_time(self) -> None:
        """Of a thousand owners, few are looked up for each item that a full queue refuses, or takes for another."""
        queue: RoundRobinQueue[int] = RoundRobinQueue()
        for n in range(1_000):
            for _ in range(2):
                queue.enqueue(n, CountingOwner(n))
        self.assertEqual(queue.count_of(queue.greediest), 2)
        CountingOwner.lookups = 0
        for n in range(1_000):
            self.assertEqual(queue.count_of(queue.greediest), 2)
            queue.pop_newest()
            queue.enqueue(n, CountingOwner(1_000 + n))
        self.assertLess(CountingOwner.lookups, 20_000)

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
