"""The cache of verified tokens: used while the log is followed, and invalidated by every revocation."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.token_cache import TokenCache
from multiproto.base.timestamps import format_timestamp
from multiproto.core.events import EventBuilder
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.log_freshness import STALE_AFTER, LogFreshness
from multiproto.core.pubsub.permissions import PUBLISH
from multiproto.core.transactions import Entry, Event

from ..fakes import sequential_ids


def identity(name: str, expires_at: float = 1000.0) -> Identity:
    return Identity(name, f"session-{name}", expires_at, deadline=expires_at)


class TokenCacheTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.dispatcher = Clock(), Dispatcher()
        self.events = EventBuilder(sequential_ids("event"))
        self.dispatcher.freshness = LogFreshness(self.clock)
        self.dispatcher.freshness.mark_current(0.0)
        self.keys = object()
        self.cache = self.make_cache()

    def make_cache(self, lifetime: float = 300.0, most: int = 10) -> TokenCache:
        cache = TokenCache(self.dispatcher, self.clock, self.clock.seconds, lifetime, lambda: self.keys, most)
        self.assertIsNone(cache.get("token"))  # the first keys are new ones
        return cache

    def put(self, *names: str, expires_at: float = 1000.0) -> None:
        for name in names:
            self.cache.put(f"token-{name}", identity(name, expires_at), self.cache.version)

    def cached(self, *names: str) -> list[str]:
        """Those of `names` that are found."""
        found = [self.cache.get(f"token-{name}") for name in names]
        return [each.user_id for each in found if each is not None]

    def pass_seconds(self, seconds: float) -> None:
        """While the log is followed."""
        self.clock.advance(seconds)
        assert self.dispatcher.freshness is not None
        self.dispatcher.freshness.mark_current(self.clock.seconds())

    def happen(self, event: Event) -> None:
        self.dispatcher.dispatch_logged(Entry(1, "cursor1", event))

    def test_what_was_put_is_found(self) -> None:
        self.put("ann")
        self.assertEqual(self.cache.get("token-ann"), identity("ann"))
        self.assertIsNone(self.cache.get("token-bob"))
        self.assertIsNone(self.cache.get("\ud800"))

    def test_no_longer_than_its_lifetime_and_that_of_the_token(self) -> None:
        self.put("ann", expires_at=400.0)
        self.pass_seconds(299.9)
        self.assertEqual(self.cached("ann"), ["ann"])
        self.pass_seconds(0.1)
        self.assertEqual(self.cached("ann"), [])
        self.put("ann", expires_at=400.0)
        self.pass_seconds(99.9)
        self.assertEqual(self.cached("ann"), ["ann"])
        self.pass_seconds(0.1)
        self.assertEqual((self.cached("ann"), len(self.cache)), ([], 0))

    def test_a_credential_that_never_expires_has_the_lifetime_too(self) -> None:
        pump = Identity("ann", "id-pump", float("inf"), "pump", (Grant("a", [PUBLISH]),))
        self.cache.put("mpd_pump", pump, self.cache.version)
        self.assertEqual(self.cache.get("mpd_pump"), pump)
        self.pass_seconds(300.0)
        self.assertIsNone(self.cache.get("mpd_pump"))
        self.cache.put("mpd_pump", pump, self.cache.version)
        self.happen(self.events.sessions_revoked("ann", ["id-pump"], format_timestamp(0)))
        self.assertEqual(len(self.cache), 0)

    def test_switched_off(self) -> None:
        self.cache = self.make_cache(lifetime=0.0)
        self.put("ann")
        self.assertEqual((self.cached("ann"), len(self.cache)), ([], 0))

    def test_the_end_of_a_session_or_a_user_ends_what_is_cached(self) -> None:
        at = format_timestamp(0)
        for ending in (
            self.events.sessions_revoked("ann", ["session-ann"], at),
            self.events.user_deleted("ann", at),
        ):
            self.put("ann", "bob")
            self.happen(ending)
            self.assertEqual(self.cached("ann", "bob"), ["bob"])

    def test_an_end_that_is_read_ahead_counts(self) -> None:
        self.put("ann")
        event = self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0))
        self.dispatcher.announce_revocations(Entry(9, "cursor9", event))
        self.assertEqual(self.cached("ann"), [])

    def test_so_does_one_in_this_process_at_once(self) -> None:
        self.put("ann")
        event = self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0))
        self.dispatcher.revocations.revoke_committed(event)
        self.assertEqual(self.cached("ann"), [])

    def test_what_was_verified_before_a_revocation_is_not_kept(self) -> None:
        version = self.cache.version
        self.happen(self.events.sessions_revoked("ann", ["session-ann"], format_timestamp(0)))
        self.cache.put("token-ann", identity("ann"), version)
        self.assertEqual(len(self.cache), 0)

    def test_another_log_may_have_ended_any_right_unseen(self) -> None:
        self.put("ann")
        version = self.cache.version
        self.dispatcher.replace_log(7, "other7")
        self.assertIsNone(self.cache.get("token-ann"))
        self.assertNotEqual(self.cache.version, version)

    def test_other_keys_must_verify_all_again(self) -> None:
        """Also what was being verified when they changed."""
        self.put("ann", "bob")
        version = self.cache.version
        self.keys = object()
        self.assertEqual((self.cached("ann", "bob"), len(self.cache)), ([], 0))
        self.cache.put("token-ann", identity("ann"), version)
        self.assertEqual(len(self.cache), 0)
        self.put("ann")
        self.assertEqual(self.cached("ann"), ["ann"])

    def test_nothing_is_found_or_kept_while_the_log_is_stale(self) -> None:
        self.put("ann")
        self.clock.advance(STALE_AFTER + 0.1)
        self.put("bob")
        self.assertEqual(self.cached("ann", "bob"), [])
        self.pass_seconds(0)
        self.assertEqual(self.cached("ann", "bob"), ["ann"])

    def test_nor_where_nobody_follows_it(self) -> None:
        self.dispatcher.freshness = None
        self.put("ann")
        self.assertEqual(self.cached("ann"), [])

    def test_memory_is_bounded(self) -> None:
        """One more than there is room for evicts the one used longest ago, and nothing is left of it."""
        self.cache = self.make_cache(most=2)
        self.put("ann", "bob", "cleo")
        self.assertEqual(self.cached("ann", "bob", "cleo"), ["bob", "cleo"])
        self.assertEqual((len(self.cache), len(self.cache._digests_by_owner)), (2, 4))

    def test_two_that_verify_one_token_at_once(self) -> None:
        self.put("ann", "ann")
        self.assertEqual((len(self.cache), len(self.cache._digests_by_owner)), (1, 2))
