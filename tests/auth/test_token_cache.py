"""Tokens that were found good: not asked for again, and no longer than they are good."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.token_cache import TokenCache
from multiproto.core.errors import Unauthorized
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Grant, Identity
from multiproto.core.model import format_timestamp
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.log_freshness import STALE_AFTER, LogFreshness
from multiproto.core.pubsub.permissions import PUBLISH
from multiproto.core.transactions import Entry, Event

from ..fakes import FakeAuthenticator, sequential_ids


class Asked(FakeAuthenticator):
    """Counts how often it is asked."""

    times = 0

    async def authenticate(self, token: str, host: str = "") -> Identity:
        self.times += 1
        return await super().authenticate(token)


class KnownTokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.audience, self.events = Clock(), Dispatcher(), EventBuilder(sequential_ids("event"))
        self.audience.freshness = LogFreshness(self.clock)
        self.audience.freshness.mark_current(0.0)
        self.seen: list[object] = []
        self.gate, self.keys = Asked(), object()
        self.known = self.knowing()

    def knowing(self, lifetime: float = 300.0, most: int = 10) -> TokenCache:
        return TokenCache(self.gate, self.audience, self.clock, lifetime, self, lambda: self.keys, most)

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        self.seen.append(found)

    def auth(self, method: str, outcome: str) -> None:
        self.seen.append((method, outcome))

    def ask(self, name: str = "ann") -> Deferred[Identity]:
        return Deferred.fromCoroutine(self.known.authenticate(f"token-{name}"))

    def asked_for(self, *names: str) -> int:
        """How often the gate behind is asked."""
        before = self.gate.times
        for name in names:
            self.assertEqual(self.successResultOf(self.ask(name)).user_id, name)
        return self.gate.times - before

    def pass_seconds(self, seconds: float) -> None:
        """While the log is seen."""
        self.clock.advance(seconds)
        assert self.audience.freshness is not None
        self.audience.freshness.mark_current(self.clock.seconds())

    def happen(self, event: Event) -> None:
        self.audience.dispatch_logged(Entry(1, "cursor1", event))

    def test_it_is_asked_for_once_and_both_are_counted(self) -> None:
        self.assertEqual(self.asked_for("ann", "ann", "bob"), 2)
        self.assertEqual(self.seen, [False, True, ("token", "success"), False])

    def test_so_is_a_credential_that_never_expires(self) -> None:
        self.gate.identities["pump"] = Identity(
            "ann", "id-pump", float("inf"), "pump", (Grant("a", [PUBLISH]),)
        )
        for name in ("pump", "pump"):
            who = self.successResultOf(self.ask(name))
        self.assertEqual((self.gate.times, who), (1, self.gate.identities["pump"]))
        self.assertEqual(self.seen, [False, True, ("credential", "success")])
        self.pass_seconds(300.0)
        self.assertEqual(self.successResultOf(self.ask("pump")), who)
        self.assertEqual(self.gate.times, 2)
        self.happen(self.events.sessions_revoked("ann", ["id-pump"], format_timestamp(0)))
        self.assertEqual(len(self.known), 0)

    def test_a_bad_one_is_asked_for_each_time(self) -> None:
        for _ in range(2):
            self.failureResultOf(Deferred.fromCoroutine(self.known.authenticate("\ud800")), Unauthorized)
        self.assertEqual((self.gate.times, len(self.known)), (2, 0))

    def test_for_so_long_and_no_longer_than_it_is_good(self) -> None:
        self.gate.expires_at = 400.0
        self.asked_for("ann")
        self.pass_seconds(299.9)
        self.assertEqual(self.asked_for("ann"), 0)
        self.pass_seconds(0.1)
        self.assertEqual(self.asked_for("ann"), 1)
        self.pass_seconds(99.9)
        self.assertEqual(self.asked_for("ann"), 0)
        self.pass_seconds(0.1)
        self.assertEqual(self.asked_for("ann"), 1)

    def test_switched_off(self) -> None:
        self.known = self.knowing(lifetime=0.0)
        self.assertEqual(self.asked_for("ann", "ann"), 2)

    def test_the_end_of_a_session_or_a_user_ends_what_is_known(self) -> None:
        at = format_timestamp(0)
        for ending in (
            self.events.sessions_revoked("ann", ["session-ann"], at),
            self.events.user_deleted("ann", at),
        ):
            self.asked_for("ann", "bob")
            self.happen(ending)
            self.assertEqual(self.asked_for("ann", "bob"), 1)

    def test_an_end_that_is_seen_ahead_counts(self) -> None:
        self.asked_for("ann")
        event = self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0))
        self.audience.announce_revocations(Entry(9, "cursor9", event))
        self.assertEqual(self.asked_for("ann"), 1)

    def test_so_does_one_in_this_process_at_once(self) -> None:
        self.asked_for("ann")
        self.known.revoke(["session-ann"])
        self.assertEqual(self.asked_for("ann"), 1)

    def test_what_was_read_before_an_end_is_not_kept(self) -> None:
        self.gate.slow = True
        asked = self.ask()
        self.happen(self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0)))
        self.gate.release_one()
        self.successResultOf(asked)
        self.assertEqual(len(self.known), 0)

    def test_other_keys_must_be_asked_for_all(self) -> None:
        """Also about what was being looked up when they changed."""
        self.asked_for("ann", "bob")
        self.keys = object()
        self.assertEqual(self.asked_for("ann", "ann", "bob"), 2)
        self.gate.slow = True
        self.keys = object()
        asked = self.ask("ann")
        self.keys = object()
        self.ask("bob")
        self.gate.release_one()
        self.successResultOf(asked)
        self.assertEqual(len(self.known), 0)

    def test_nothing_is_known_while_the_log_is_not_seen(self) -> None:
        self.asked_for("ann")
        self.clock.advance(STALE_AFTER + 0.1)
        self.assertEqual(self.asked_for("ann", "ann", "bob", "bob"), 4)
        self.pass_seconds(0)
        self.assertEqual(self.asked_for("ann", "bob", "bob"), 1)

    def test_nor_where_nobody_looks(self) -> None:
        self.audience.freshness = None
        self.assertEqual(self.asked_for("ann", "ann"), 2)

    def test_memory_is_bounded(self) -> None:
        """One more than there is room for costs the oldest its place, and nothing is left of it."""
        self.known = self.knowing(most=2)
        self.assertEqual(self.asked_for("ann", "bob", "cleo", "bob", "cleo"), 3)
        self.assertEqual(self.asked_for("ann"), 1)
        self.assertEqual((len(self.known), len(self.known._digests_by_owner)), (2, 4))

    def test_two_that_look_at_once(self) -> None:
        self.gate.slow = True
        first, second = self.ask(), self.ask()
        self.gate.release_one()
        self.gate.release_one()
        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual((len(self.known), len(self.known._digests_by_owner)), (1, 2))
