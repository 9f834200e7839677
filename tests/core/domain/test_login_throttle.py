"""Guessing one account's password from many addresses, while its owner comes and goes."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import ClientNetwork
from multiproto.base.timestamps import format_timestamp
from multiproto.core.domain.login_throttle import TRUST_DURATION, LoginAttempt, LoginThrottle
from multiproto.core.errors import RateLimited, Unavailable
from multiproto.core.ratelimit.fixed_window import RateLimit
from multiproto.core.ratelimit.token_bucket import MAX_BUCKETS, Rate, TokenBuckets
from multiproto.core.transactions import Query, Snapshot

HOME, ELSEWHERE = "192.0.2.1", "198.51.100.7"


@define
class Shared:
    """What two instances have in common; `away` fails all."""

    clock: Clock
    buckets: TokenBuckets = Factory(lambda: TokenBuckets(Rate(10 / 900, 10)))
    away: bool = False

    async def lease(self, key: str, rate: Rate, tokens: int) -> tuple[int, float]:
        self._answer()
        if tokens < 0:
            self.buckets.refund(key, self.clock.seconds(), -tokens)
            return tokens, 0.0
        wait = self.buckets.acquire(key, self.clock.seconds(), tokens)
        return (0, wait) if wait else (tokens, 0.0)

    def _answer(self) -> None:
        if self.away:
            raise Unavailable("away")


@define
class KnownNetworks:
    """The database, as far as it knows the networks of accounts; `away` fails all."""

    seen_at: dict[tuple[object, object], str] = Factory(dict)  # by account and network
    reads: int = 0
    away: bool = False

    def remember(self, email_key: str, network: str, at: float) -> None:
        self.seen_at[email_key, network] = format_timestamp(at)

    async def read(self, query: Query) -> Snapshot:
        assert query.name == "network_known"
        if self.away:
            raise Unavailable("away")
        self.reads += 1
        seen_at = self.seen_at.get((query.params["email_key"], query.params["network"]))
        known = seen_at is not None and seen_at > str(query.params["since"])
        return Snapshot((({"user_id": "ann"},) if known else (),), "cursor")


class LoginThrottleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock)
        self.database = KnownNetworks()
        self.logins = self.throttle()

    def throttle(self, shared: Shared | None = None, max_keys: int = MAX_BUCKETS) -> LoginThrottle:
        store: Any = self.database
        return LoginThrottle(self.clock, self.clock.seconds, store, shared, max_keys)

    def done(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def attempt(
        self, host: str, right: bool | None = False, logins: LoginThrottle | None = None
    ) -> LoginAttempt:
        asked = logins or self.logins
        attempt: LoginAttempt = self.done(asked.begin_attempt("ann@example.org", host))
        self.done(asked.finish_attempt(attempt, right))
        return attempt

    def refused(
        self, host: str, email_key: str = "ann@example.org", logins: LoginThrottle | None = None
    ) -> float:
        refusal = self.failureResultOf(
            Deferred.fromCoroutine((logins or self.logins).begin_attempt(email_key, host)), RateLimited
        ).value
        assert refusal.retry_after is not None
        return float(refusal.retry_after)

    def guess(self, count: int = 10, logins: LoginThrottle | None = None) -> None:
        """From as many networks."""
        for n in range(count):
            self.attempt(f"203.0.113.{n}", logins=logins)

    def test_ten_wrong_ones_from_anywhere_and_one_more(self) -> None:
        self.guess()
        self.assertAlmostEqual(self.refused(ELSEWHERE), 90.0)
        self.clock.advance(90)
        self.attempt(ELSEWHERE)
        self.refused(ELSEWHERE)

    def test_failures_of_one_address_and_one_more(self) -> None:
        """On whatever accounts; what went well, and what was not tried, costs nothing."""
        self.logins._failures_by_address = RateLimit(3, 900.0, clock=self.clock, setting="LOGIN_RATE_MAX")
        for email, right in (("a", True), ("b", None), ("c", False), ("d", False), ("e", False)):
            attempt = self.done(self.logins.begin_attempt(email, ELSEWHERE))
            self.done(self.logins.finish_attempt(attempt, right))
        self.assertEqual(self.refused(ELSEWHERE, "bob@example.org"), 900.0)
        self.assertRaises(RateLimited, self.logins.check_address, ELSEWHERE)
        self.logins.check_address(HOME)
        self.attempt(HOME)
        self.clock.advance(900)
        self.attempt(ELSEWHERE)

    def test_registrations_that_fail_count_with_them(self) -> None:
        self.logins._failures_by_address = RateLimit(2, 900.0, clock=self.clock)
        for _ in range(2):
            self.logins.check_address("2001:db8::1")
            self.done(self.logins.record_failure("2001:db8::1"))
        self.assertRaises(RateLimited, self.logins.check_address, "2001:db8::2")
        self.assertEqual(self.refused("2001:db8::3"), 900.0)

    def test_an_owner_is_let_try_where_others_have_failed(self) -> None:
        """Also where the database alone knows; and is charged for nothing."""
        self.logins._failures_by_address = RateLimit(1, 900.0, clock=self.clock)
        self.database.remember("ann@example.org", HOME, self.clock.seconds())
        self.done(self.logins.record_failure(HOME))
        self.attempt(HOME, True)
        self.attempt(HOME, False)
        self.refused(HOME, "bob@example.org")

    def test_an_account_that_is_not_there_answers_alike(self) -> None:
        """Nobody looks."""
        for n in range(10):
            self.done(self.logins.begin_attempt("nobody@example.org", f"203.0.113.{n}"))
        self.assertAlmostEqual(self.refused(ELSEWHERE, "nobody@example.org"), 90.0)

    def test_another_account_is_not_touched(self) -> None:
        self.guess()
        self.done(self.logins.begin_attempt("bob@example.org", ELSEWHERE))

    def test_the_owner_still_gets_in_where_they_have_been_before(self) -> None:
        self.attempt(HOME, right=True)
        self.guess()
        self.refused(ELSEWHERE)
        for _ in range(20):
            self.assertFalse(self.attempt(HOME, right=True).charged)

    def test_that_is_remembered_for_thirty_days(self) -> None:
        self.attempt(HOME, right=True)
        self.clock.advance(TRUST_DURATION - 1)
        self.guess()
        self.attempt(HOME)
        self.clock.advance(1)
        self.refused(HOME)

    def test_what_the_database_knows(self) -> None:
        """As after a restart, and from other instances; it is read once."""
        self.database.remember("ann@example.org", HOME, 0)
        self.clock.advance(TRUST_DURATION - 1)
        self.guess()
        for _ in range(20):
            self.assertFalse(self.attempt(HOME).charged)
        self.assertEqual(self.database.reads, 1)
        self.refused(ELSEWHERE)

    def test_it_is_known_for_thirty_days(self) -> None:
        self.database.remember("ann@example.org", HOME, 0)
        self.clock.advance(TRUST_DURATION)
        self.guess()
        self.refused(HOME)

    def test_a_network_is_one_address(self) -> None:
        self.database.remember("ann@example.org", "2001:db8::/64", 0)
        self.guess()
        self.attempt("2001:db8::2")
        self.refused("2001:db8:0:1::2")

    def test_the_database_is_not_read_while_there_are_attempts_left(self) -> None:
        """A storm of logins costs it nothing."""
        self.guess()
        self.assertEqual(self.database.reads, 0)

    def test_while_it_is_away_nobody_is_known(self) -> None:
        self.database.remember("ann@example.org", HOME, 0)
        self.database.away = True
        self.guess()
        self.refused(HOME)

    def test_one_who_has_been_at_another_account_is_nobody_here(self) -> None:
        self.database.remember("bob@example.org", HOME, 0)
        self.guess()
        self.refused(HOME)

    def test_a_right_password_costs_nothing(self) -> None:
        for n in range(100):
            self.attempt(f"203.0.113.{n}", right=True)

    def test_nor_does_one_that_nobody_looked_at(self) -> None:
        """As when the threads that hash have enough to do."""
        for n in range(100):
            self.attempt(f"203.0.113.{n}", right=None)

    def test_many_at_once_are_as_many(self) -> None:
        """Each is paid for before it is made."""
        for n in range(10):
            self.done(self.logins.begin_attempt("ann@example.org", f"203.0.113.{n}"))
        self.refused(ELSEWHERE)

    def test_instances_count_together(self) -> None:
        here, there = (self.throttle(self.shared) for _ in range(2))
        self.guess(5, here)
        self.guess(5, there)
        for logins in (here, there):
            self.assertAlmostEqual(self.refused(ELSEWHERE, logins=logins), 90.0)

    def test_a_right_password_costs_nothing_there_either(self) -> None:
        here = self.throttle(self.shared)
        for n in range(100):
            self.attempt(f"203.0.113.{n}", True, here)

    def test_while_that_is_away_each_counts_for_itself(self) -> None:
        self.shared.away = True
        here = self.throttle(self.shared)
        self.attempt(HOME, True, here)
        self.guess(10, here)
        self.refused(ELSEWHERE, logins=here)
        self.attempt(HOME, True, here)

    def test_what_is_kept_is_bounded_and_tells_no_address(self) -> None:
        logins = self.throttle(max_keys=2)
        for n in range(5):
            attempt = LoginAttempt("ann", f"network {n}", ClientNetwork(HOME), charged=False)
            self.done(logins.finish_attempt(attempt, right=True))
            self.done(logins.begin_attempt(f"{n}@example.org", HOME))
        self.assertEqual((len(logins._trusted_until), len(logins._failures)), (2, 2))
        self.assertNotIn("example.org", str(logins._failures._by_key) + str(logins._trusted_until))
