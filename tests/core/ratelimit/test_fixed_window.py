from __future__ import annotations

from collections import Counter

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import RateLimited, Unavailable
from multiproto.core.ratelimit.fixed_window import RateLimit, RateLimitStatus, RequestLimits


@define
class Together:
    """What instances share: windows that never end, 7.5 s before they do."""

    counted: Counter[str] = Factory(Counter)
    away: bool = False

    async def count(self, key: str) -> tuple[int, float]:
        if self.away:
            raise Unavailable("The shared rate limits are away")
        self.counted[key] += 1
        return self.counted[key], 7.5


class SharedTests(SynchronousTestCase):
    """Two instances, at most three requests."""

    def setUp(self) -> None:
        self.clock, self.counts = Clock(), Together()
        self.here, self.there = (
            RateLimit(3, 10.0, clock=self.clock, shared_counter=self.counts, name="requests")
            for _ in range(2)
        )

    def ask(self, limit: RateLimit, host: str = "192.0.2.1") -> RateLimitStatus:
        counted = limit.check_request(host)
        self.assertTrue(counted.is_shared)
        return self.successResultOf(Deferred.fromCoroutine(counted.with_shared_count())).status

    def test_they_count_together(self) -> None:
        found = [self.ask(limit) for limit in (self.here, self.there, self.here, self.there)]
        self.assertEqual([each.remaining for each in found], [2, 1, 0, 0])
        self.assertEqual([each.exceeded for each in found], [False, False, False, True])
        self.assertEqual({each.reset for each in found}, {8})
        self.assertEqual(dict(self.counts.counted), {"requests:192.0.2.1": 4})

    def test_who_is_beyond_the_limit_is_not_asked_about_again_in_this_window(self) -> None:
        for _ in range(4):
            self.ask(self.there)
        self.assertTrue(self.ask(self.here).exceeded)
        self.assertTrue(self.ask(self.here).exceeded)
        self.assertEqual(self.counts.counted["requests:192.0.2.1"], 4)
        self.clock.advance(7.5)
        self.ask(self.here)
        self.assertEqual(self.counts.counted["requests:192.0.2.1"], 5)

    def test_while_they_cannot_be_had_each_counts_for_itself(self) -> None:
        self.ask(self.there)
        self.counts.away = True
        found = [self.ask(self.here) for _ in range(4)]
        self.assertEqual([each.remaining for each in found], [2, 1, 0, 0])
        self.assertTrue(found[-1].exceeded)

    def test_what_others_have_used_up_is_known_before_the_next(self) -> None:
        for _ in range(2):
            self.ask(self.there)
        self.assertFalse(self.here.preview("192.0.2.1").exceeded)
        self.ask(self.here)
        self.assertTrue(self.here.preview("192.0.2.1").exceeded)


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limit = RateLimit(2, 10.0, clock=self.clock, max_keys=3)

    def left(self, *hosts: str) -> list[int]:
        return [self.limit.count_request(host).remaining for host in hosts]

    def test_the_limit_itself_is_allowed(self) -> None:
        self.assertEqual([self.limit.count_request("a").exceeded for _ in range(3)], [False, False, True])

    def test_a_preview_counts_nothing(self) -> None:
        for _ in range(5):
            self.assertEqual(self.limit.preview("a").remaining, 1)
        self.left("a", "a")
        self.assertTrue(self.limit.preview("a").exceeded)
        self.clock.advance(10)
        self.assertFalse(self.limit.preview("a").exceeded)

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


class RequestLimitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.limits = RequestLimits(
            RateLimit(2, 10.0, clock=clock, setting="BY_ADDRESS"),
            RateLimit(1, 10.0, clock=clock, setting="BY_USER"),
        )

    def left(self, *hosts: str) -> list[int]:
        return [self.limits.check(host).status.remaining for host in hosts]

    def test_a_customer_of_ipv6_is_one(self) -> None:
        """Who has a /64 has more addresses than we could count."""
        self.assertEqual(self.left("2001:db8::1", "2001:db8::2%eth0", "2001:db8:0:1::1"), [1, 0, 1])

    def test_ipv4_in_ipv6_is_ipv4(self) -> None:
        self.assertEqual(self.left("::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.2"), [1, 0, 1])

    def test_a_user_is_counted_wherever_it_comes_from_and_no_address(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.limits.count("10.0.0.1", "ann")))
        refused = self.failureResultOf(
            Deferred.fromCoroutine(self.limits.count("10.0.0.2", "ann")), RateLimited
        )
        self.assertEqual(refused.getErrorMessage(), "Too many requests; try again in 10 s (BY_USER)")
        self.assertEqual(self.left("10.0.0.1"), [1])
