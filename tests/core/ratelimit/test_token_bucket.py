"""Token buckets: pure, so all of time is in the test's hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import client_network
from multiproto.core.connections.admission import (
    MAX_CONNECT_WAIT,
    Admission,
    ConnectionLimits,
    ConnectionRateLimiter,
)
from multiproto.core.errors import RateLimited
from multiproto.core.ratelimit.token_bucket import Rate, TokenBucket, TokenBuckets
from multiproto.observe.protocol_stats import ProtocolStats

EPOCH = 1_800_000_000.0  # of the clock that servers use; floats tell a quarter of a microsecond there


class BucketTests(SynchronousTestCase):
    def test_a_burst_and_one_past_it(self) -> None:
        bucket = TokenBucket(Rate(2, 3), 0.0)
        self.assertEqual([bucket.acquire(0.0) for _ in range(5)], [0.0, 0.0, 0.0, 0.5, 0.5])

    def test_it_fills_continuously_and_not_beyond_its_burst(self) -> None:
        bucket = TokenBucket(Rate(2, 3), 0.0)
        for _ in range(3):
            bucket.acquire(0.0)
        self.assertEqual([bucket.acquire(now) for now in (0.25, 0.5, 0.5, 100.0)], [0.25, 0.0, 0.5, 0.0])
        self.assertEqual(bucket.level, 2.0)

    def test_what_is_refused_costs_nothing_here(self) -> None:
        bucket = TokenBucket(Rate(1, 1), 0.0)
        for _ in range(10):
            bucket.acquire(0.0)
        self.assertEqual(bucket.acquire(1.0), 0.0)

    def test_more_than_there_is_can_be_owed(self) -> None:
        """At exactly the limit nothing is."""
        bucket = TokenBucket(Rate(100, 10), 0.0)
        self.assertEqual(
            [bucket.charge(0.0, 10), bucket.charge(0.0, 1), bucket.charge(0.0, 0)], [0.0, 0.01, 0.01]
        )
        self.assertEqual(bucket.charge(0.01), 0.0)

    def test_what_is_given_back_fills_no_more_than_a_bucket(self) -> None:
        bucket = TokenBucket(Rate(1, 2), 0.0)
        bucket.acquire(0.0)
        bucket.refund(0.0, 5)
        self.assertEqual(bucket.level, 2.0)

    def test_a_clock_that_is_set_back_gives_nothing_and_takes_nothing(self) -> None:
        bucket = TokenBucket(Rate(1, 1), 100.0)
        bucket.acquire(100.0)
        self.assertEqual([bucket.acquire(50.0), bucket.acquire(51.0)], [1.0, 0.0])

    @given(
        st.integers(1, 10_000),
        st.integers(1, 100),
        st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=40),
    )
    def test_never_more_than_the_burst_and_what_time_gave(
        self, each: int, burst: int, pauses: list[float]
    ) -> None:
        bucket, now, taken = TokenBucket(Rate(each, burst), EPOCH), EPOCH, 0
        for pause in pauses:
            now += pause
            taken += sum(bucket.acquire(now) == 0.0 for _ in range(burst + 1))
            self.assertLessEqual(taken, burst + (now - EPOCH) * each + 0.01)

    @given(st.integers(1, 100_000), st.integers(1, 1000))
    def test_who_waits_as_long_as_told_gets_it(self, each: int, burst: int) -> None:
        bucket, now = TokenBucket(Rate(each, burst), EPOCH), EPOCH
        while not (wait := bucket.acquire(now)):
            pass
        now += -(-wait * 1000 // 1) / 1000  # in whole milliseconds, as clients are told
        self.assertEqual(bucket.acquire(now), 0.0)


class BucketsTests(SynchronousTestCase):
    def test_each_key_has_its_own(self) -> None:
        buckets = TokenBuckets(Rate(1, 1))
        self.assertEqual([buckets.acquire(key, 0.0) for key in "aab"], [0.0, 1.0, 0.0])

    def test_so_many_are_remembered_and_no_more(self) -> None:
        """The one that was asked for longest ago is forgotten."""
        buckets = TokenBuckets(Rate(1, 1), 2)
        for key in "aba":
            buckets.acquire(key, 0.0)
        self.assertEqual(len(buckets), 2)
        buckets.acquire("c", 0.0)  # in place of b
        self.assertEqual(len(buckets), 2)
        self.assertEqual([buckets.acquire(key, 0.0) for key in "acb"], [1.0, 1.0, 0.0])

    def test_those_that_are_full_again_make_room(self) -> None:
        buckets = TokenBuckets(Rate(1, 1))
        for n in range(10):
            buckets.acquire(str(n), 0.0)
        for n in range(10, 20):
            buckets.acquire(str(n), 2.0)
        self.assertLessEqual(len(buckets), 10)


class ConnectionRateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()

    def test_those_above_the_rate_wait_for_their_turn(self) -> None:
        arrivals, network = ConnectionRateLimiter(Rate(10, 3), self.clock), client_network("192.0.2.1")
        waits = [arrivals.reserve(network) for _ in range(5)]
        self.assertEqual(waits, [0.0, 0.0, 0.0, 0.1, 0.2])
        self.assertEqual(arrivals.reserve(client_network("192.0.2.2")), 0.0)
        self.clock.advance(0.2)
        self.assertAlmostEqual(arrivals.reserve(network), 0.1)

    def test_one_that_would_wait_too_long_is_refused_and_not_counted(self) -> None:
        arrivals, network = ConnectionRateLimiter(Rate(10, 1), self.clock), client_network("192.0.2.1")
        waits = [arrivals.reserve(network) for _ in range(51)]
        self.assertAlmostEqual(waits[-1], MAX_CONNECT_WAIT)
        for _ in range(3):
            with self.assertRaises(RateLimited) as caught:
                arrivals.reserve(network)
            self.assertEqual(caught.exception.retry_after_fields, {"retryAfter": 5100})
        arrivals.release(network)
        self.assertAlmostEqual(arrivals.reserve(network), MAX_CONNECT_WAIT)

    def test_a_network_is_one_address(self) -> None:
        arrivals = ConnectionRateLimiter(Rate(10, 1), self.clock)
        hosts = "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1"
        self.assertEqual(
            [bool(arrivals.reserve(client_network(host))) for host in hosts],
            [False, True, False, False, True],
        )

    def test_without_a_rate_all_may_come(self) -> None:
        arrivals = ConnectionRateLimiter(None, self.clock)
        self.assertEqual({arrivals.reserve(client_network("192.0.2.1")) for _ in range(1000)}, {0.0})

    def test_a_line_counts_whom_it_turns_away(self) -> None:
        line = Admission(
            ConnectionLimits(),
            ProtocolStats("tcp"),
            rate_limiter=ConnectionRateLimiter(Rate(0.1, 1), self.clock),
        )
        line.reserve(client_network("192.0.2.1"))
        with self.assertRaises(RateLimited) as caught:
            line.reserve(client_network("192.0.2.1"))
        self.assertEqual(caught.exception.retry_after_fields, {"retryAfter": 10_000})
        self.assertEqual(line.stats.connections_by_status["rejected"], 1)
