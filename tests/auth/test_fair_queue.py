"""Which of those who wait is served next, and how many places one of them may have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.fair_queue import FairQueue
from multiproto.base.client_network import ClientNetwork
from multiproto.core.client_info import Requester
from multiproto.core.errors import RateLimited, Unavailable


def of(network: str, user: str = "") -> Requester:
    return Requester(ClientNetwork(network), user)


class FairQueueTests(SynchronousTestCase):
    def drained(self, queue: FairQueue[int]) -> list[int | None]:
        return [queue.dequeue() for _ in range(len(queue) + 1)]

    def test_networks_may_be_passed_over(self) -> None:
        """They keep their turn."""
        queue: FairQueue[int] = FairQueue(100, 10, 10)
        for n, network in enumerate("aab"):
            queue.enqueue(n, of(network))
        self.assertEqual([queue.dequeue(without={"a"}), queue.dequeue(without={"a"})], [2, None])
        self.assertEqual(self.drained(queue), [0, 1, None])

    def test_each_network_in_turn_and_each_in_order(self) -> None:
        """What comes later from elsewhere is not behind all that one network has waiting."""
        queue: FairQueue[int] = FairQueue(100, 10, 10)
        for n, network in enumerate("aaabba"):
            queue.enqueue(n, of(network))
        queue.enqueue(6, of("c"))
        self.assertEqual(self.drained(queue), [0, 3, 6, 1, 4, 2, 5, None])
        self.assertEqual(len(queue), 0)

    def test_each_user_of_a_network_in_turn(self) -> None:
        """The users of one network share the turns of that network."""
        queue: FairQueue[int] = FairQueue(100, 10, 10)
        for n, user in enumerate(("ann", "ann", "bob", "")):
            queue.enqueue(n, of("a", user))
        for n in (4, 5):
            queue.enqueue(n, of("b", "eve"))
        self.assertEqual(self.drained(queue), [0, 4, 2, 5, 3, 1, None])

    def test_the_share_of_a_network_and_one_past_it(self) -> None:
        """However many users it has."""
        queue: FairQueue[int] = FairQueue(100, 2, 2)
        for n, user in enumerate(("ann", "bob")):
            queue.enqueue(n, of("a", user))
        with self.assertRaises(RateLimited) as caught:
            queue.enqueue(2, of("a", "eve"))
        self.assertEqual(caught.exception.retry_after, 1.0)
        queue.enqueue(2, of("b"))
        queue.dequeue()
        queue.enqueue(3, of("a"))

    def test_the_share_of_a_user_and_one_past_it(self) -> None:
        """From however many networks."""
        queue: FairQueue[int] = FairQueue(100, 10, 2)
        for n, network in enumerate("ab"):
            queue.enqueue(n, of(network, "ann"))
        self.assertRaises(RateLimited, queue.enqueue, 2, of("c", "ann"))
        queue.enqueue(2, of("c", "bob"))
        queue.dequeue()
        queue.enqueue(3, of("c", "ann"))

    def test_those_who_have_not_authenticated_are_no_user(self) -> None:
        """Else whoever has many addresses would have everybody's logins."""
        queue: FairQueue[int] = FairQueue(100, 10, 2)
        for n in range(50):
            queue.enqueue(n, of(f"network {n}"))
        self.assertEqual(len(queue), 50)

    def test_a_full_queue_has_room_for_one_who_has_less(self) -> None:
        """The newest of those who have most loses its place, as long as they have two more."""
        queue: FairQueue[int] = FairQueue(5, 3, 3)
        for n, network in enumerate("aaabb"):
            self.assertIsNone(queue.enqueue(n, of(network)))
        self.assertEqual(queue.enqueue(5, of("c")), 2)
        self.assertEqual(len(queue), 5)
        self.assertRaises(Unavailable, queue.check_capacity, of("c"))
        self.assertRaises(Unavailable, queue.enqueue, 6, of("b"))
        self.assertEqual(queue.enqueue(7, of("d")), 1)
        self.assertEqual(self.drained(queue), [0, 3, 5, 7, 4, None])

    def test_nothing_is_kept_of_those_who_were_served(self) -> None:
        queue: FairQueue[int] = FairQueue(100, 10, 10)
        for n in range(10):
            queue.enqueue(n, of(f"network {n}", f"user {n}"))
        self.drained(queue)
        self.assertEqual((len(queue._networks), len(queue._count_by_user)), (0, 0))
