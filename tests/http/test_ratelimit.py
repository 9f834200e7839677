from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import RateLimited
from multiproto.http.ratelimit import RateLimit


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limit = RateLimit(2, 10.0, clock=self.clock, capacity=3)

    def left(self, *hosts: str) -> list[int]:
        return [self.limit.count(host).remaining for host in hosts]

    def test_the_limit_itself_is_allowed(self) -> None:
        self.assertEqual([self.limit.count("a").exceeded for _ in range(3)], [False, False, True])

    def test_for_those_who_show_no_headers(self) -> None:
        self.limit.check("a")
        self.limit.check("a")
        with self.assertRaises(RateLimited) as caught:
            self.limit.check("a")
        self.assertEqual(str(caught.exception), "Too many requests; try again in 10 s")

    def test_windows_are_fixed(self) -> None:
        """They end when they end, however busy they were."""
        self.left("a")
        self.clock.advance(9)
        self.assertEqual(self.left("a", "a"), [0, 0])
        self.clock.advance(1)
        self.assertEqual(self.left("a"), [1])

    def test_memory_is_bounded(self) -> None:
        """One address more than there is room for costs the oldest its count."""
        self.left("a", "b", "c", "d")
        self.assertEqual(len(self.limit._windows), 3)
        self.assertEqual(self.left("b", "a"), [0, 1])

    def test_ended_windows_are_dropped(self) -> None:
        self.left("a", "b")
        self.clock.advance(10)
        self.left("c")
        self.assertEqual(list(self.limit._windows), ["c"])

    def test_a_customer_of_ipv6_is_one(self) -> None:
        """Who has a /64 has more addresses than we could count."""
        self.assertEqual(self.left("2001:db8::1", "2001:db8::2%eth0", "2001:db8:0:1::1"), [1, 0, 1])

    def test_ipv4_in_ipv6_is_ipv4(self) -> None:
        self.assertEqual(self.left("::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.2"), [1, 0, 1])
