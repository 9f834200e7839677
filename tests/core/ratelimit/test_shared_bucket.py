"""Publications counted here and with other instances; what those say, and when, is in the test's hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import load_config
from multiproto.core.errors import RateLimited, Unavailable
from multiproto.core.identity import Identity
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate, TokenBucket
from multiproto.core.wiring import Foundation, make_publish_limits

ANN = Identity("ann", "session-1", 1000.0)


@define
class Shared:
    """Answers when the test wants it to."""

    asked: list[tuple[str, int, Deferred[tuple[int, float]]]] = Factory(list)

    def lease(self, key: str, rate: Rate, tokens: int) -> Deferred[tuple[int, float]]:
        self.asked.append((key, tokens, Deferred()))
        return self.asked[-1][2]

    def grant(self, tokens: int, wait: float = 0.0) -> tuple[str, int]:
        """Answer the oldest question; gives it."""
        key, wanted, answer = self.asked.pop(0)
        answer.callback((tokens, wait))
        return key, wanted

    def fail(self) -> None:
        self.asked.pop(0)[2].errback(Unavailable("away"))


class SharedBucketsTests(SynchronousTestCase):
    """100 at once, so 10 in a handful."""

    def setUp(self) -> None:
        self.clock, self.shared = Clock(), Shared()
        self.buckets = SharedBuckets("user", Rate(10, 100), self.clock, self.shared)

    def take(self, count: int = 1) -> list[float]:
        return [self.buckets.acquire("ann") for _ in range(count)]

    def test_alone(self) -> None:
        alone = SharedBuckets("user", Rate(10, 3), self.clock)
        self.assertEqual([alone.acquire("ann") for _ in range(4)], [0.0, 0.0, 0.0, 0.1])

    def test_it_is_asked_for_by_the_handful_and_nobody_waits(self) -> None:
        self.assertEqual(self.take(3), [0.0] * 3)
        self.assertEqual(len(self.shared.asked), 1)
        self.assertEqual(self.shared.grant(11), ("user:ann", 11))  # the first was owed already
        self.take(2)  # the handful is 8 now, and 6 then
        self.assertEqual(self.shared.asked, [])
        self.take()
        self.assertEqual(self.shared.asked[0][:2], ("user:ann", 5))

    def test_most_ask_nobody(self) -> None:
        questions = 0
        for _ in range(100):
            self.take()
            while self.shared.asked:
                self.shared.grant(self.shared.asked[0][1])
                questions += 1
        self.assertLess(questions, 25)

    def test_what_others_have_taken_is_gone(self) -> None:
        self.take()
        self.shared.grant(0, 2.0)
        self.assertEqual(self.take(2), [2.0, 2.0])
        self.clock.advance(1.5)
        self.assertEqual(self.take(), [0.5])
        self.clock.advance(0.5)
        self.assertEqual(self.take(), [0.0])
        self.assertEqual(self.shared.grant(12), ("user:ann", 12))  # with what was owed

    def test_while_it_is_away_this_instance_counts_for_itself(self) -> None:
        granted = []
        for _ in range(101):
            granted += self.take()
            while self.shared.asked:
                self.shared.fail()
        self.assertEqual((granted[:100], granted[100]), ([0.0] * 100, 0.1))

    def test_while_it_is_slow_too(self) -> None:
        granted = self.take(101)
        self.assertEqual((granted[:100], granted[100]), ([0.0] * 100, 0.1))
        self.assertEqual(len(self.shared.asked), 1)

    def test_so_many_are_remembered_and_no_more(self) -> None:
        buckets = SharedBuckets("user", Rate(10, 100), self.clock, self.shared, 2)
        for key in ("ann", "bob", "ann", "carol"):
            buckets.acquire(key)
        self.assertEqual((list(buckets._leases), len(buckets._local)), (["ann", "carol"], 2))


class ChargeTests(SynchronousTestCase):
    """Of what nothing refuses: each has to wait until it is paid for, behind those before it."""

    def setUp(self) -> None:
        self.clock, self.shared = Clock(), Shared()

    def test_alone(self) -> None:
        alone = SharedBuckets("user", Rate(10, 3), self.clock)
        self.assertEqual([round(alone.charge("ann"), 6) for _ in range(6)], [0.0, 0.0, 0.0, 0.1, 0.2, 0.3])
        self.assertAlmostEqual(alone.acquire("ann"), 0.4)
        self.clock.advance(0.3)
        self.assertEqual(alone.charge("ann", 0), 0.0)

    def test_behind_what_other_instances_have_taken(self) -> None:
        buckets = SharedBuckets("user", Rate(10, 100), self.clock, self.shared)
        buckets.charge("ann")
        self.shared.grant(0, 2.0)
        self.assertEqual([round(buckets.charge("ann"), 6) for _ in range(3)], [2.1, 2.2, 2.3])
        self.assertEqual(self.shared.asked, [])

    def test_a_lease_that_is_less_than_was_used_is_waited_for(self) -> None:
        buckets = SharedBuckets("user", Rate(10, 100), self.clock, self.shared)
        for _ in range(5):
            self.assertEqual(buckets.charge("ann"), 0.0)
        self.shared.grant(2)
        self.assertAlmostEqual(buckets.charge("ann"), 0.1 + 0.3)

    def test_in_the_long_run_no_more_than_the_rate(self) -> None:
        """Two instances, each of which could do it alone: together they keep to what is shared."""
        clock, rate = self.clock, Rate(10, 10)
        bucket = TokenBucket(rate, 0.0)

        class Together:
            async def lease(self, key: str, rate: Rate, tokens: int) -> tuple[int, float]:
                now = clock.seconds()
                granted = next((n for n in range(tokens, 0, -1) if not bucket.acquire(now, n)), 0)
                return granted, 0.0 if granted else bucket.acquire(now)

        instances = [SharedBuckets("user", rate, clock, Together()) for _ in range(2)]
        free_at, published = [0.0, 0.0], 0
        for _ in range(3000):  # 30 s
            for n, buckets in enumerate(instances):
                if free_at[n] <= clock.seconds():
                    free_at[n] = clock.seconds() + buckets.charge("ann")
                    published += 1
            clock.advance(0.01)
        self.assertTrue(300 <= published <= 330, published)


class PublishLimitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        clock = Clock()
        self.limits = PublishLimits(
            SharedBuckets("user", Rate(1, 3), clock),
            SharedBuckets("credential", Rate(2, 2), clock),
            SharedBuckets("user-bytes", Rate(1, 100), clock),
        )

    def refused(self, who: Identity) -> tuple[str, float | None]:
        with self.assertRaises(RateLimited) as caught:
            self.limits.check(who)
        return caught.exception.message, caught.exception.retry_after

    def test_with_a_credential_and_as_a_user(self) -> None:
        """Two with each credential, three with all of a user's; others are not touched."""
        for _ in range(2):
            self.limits.check(ANN)
        text = (
            "Too many publications with this login or credential; try again in 1 s (CREDENTIAL_PUBLISH_RATE)"
        )
        self.assertEqual(self.refused(ANN), (text, 0.5))
        device = Identity("ann", "session-2", 1000.0)
        self.limits.check(device)
        text = "Too many publications by this user; try again in 1 s (PUBLISH_RATE)"
        self.assertEqual(self.refused(device), (text, 1.0))
        self.limits.check(Identity("bob", "session-3", 1000.0))

    def test_the_setting_that_is_named_is_the_one_in_force(self) -> None:
        """A credential that may do all that its user may has no limit of its own: none to raise, either."""
        for settings, named in (
            ({"PUBLISH_RATE": "2/s"}, "PUBLISH_RATE"),
            ({"PUBLISH_RATE": "2/s", "CREDENTIAL_PUBLISH_RATE": "2/s"}, "PUBLISH_RATE"),
            ({"PUBLISH_RATE": "2/s", "CREDENTIAL_PUBLISH_RATE": "2/s burst 9"}, "PUBLISH_RATE"),
            ({"PUBLISH_RATE": "2/s", "CREDENTIAL_PUBLISH_RATE": "none"}, "PUBLISH_RATE"),
            ({"PUBLISH_RATE": "2/s", "CREDENTIAL_PUBLISH_RATE": "1/s burst 9"}, "PUBLISH_RATE"),
            ({"PUBLISH_RATE": "2/s", "CREDENTIAL_PUBLISH_RATE": "2/s burst 1"}, "CREDENTIAL_PUBLISH_RATE"),
            ({"PUBLISH_RATE": "none", "CREDENTIAL_PUBLISH_RATE": "2/s"}, "CREDENTIAL_PUBLISH_RATE"),
            ({"CREDENTIAL_PUBLISH_RATE": "2/s"}, "CREDENTIAL_PUBLISH_RATE"),
        ):
            rates = load_config({}, settings, folder=None).config.rate_limits
            self.limits = make_publish_limits(
                cast(Foundation, SimpleNamespace(clock=Clock())),
                user_rate=rates.publish_rate,
                credential_rate=rates.credential_publish_rate,
                user_byte_rate=None,
                shared_limits=None,
            )
            with self.assertRaises(RateLimited) as caught:
                for _ in range(9):
                    self.limits.check(ANN)
            self.assertIn(f"({named})", caught.exception.message, settings)

    def test_bytes(self) -> None:
        """At the limit and one past it, the next is refused until they are paid for."""
        self.limits.charge_bytes(ANN, 100)
        self.limits.check(ANN)
        self.limits.charge_bytes(ANN, 1)
        text = "Too many bytes published by this user; try again in 1 s (USER_BYTES_RATE)"
        self.assertEqual(self.refused(ANN), (text, 1.0))
        self.assertEqual(self.limits.charge(ANN), 1.0)
        self.limits.check(Identity("bob", "session-3", 1000.0))

    def test_who_has_to_wait_waits_for_the_longest(self) -> None:
        waits = [self.limits.charge(ANN) for _ in range(5)]
        self.assertEqual(waits, [0.0, 0.0, 0.5, 1.0, 2.0])

    def test_without_limits(self) -> None:
        for _ in range(5000):
            PublishLimits().check(ANN)
