"""The time of day leaps, either way, while the clock of the intervals goes on: two clocks, both in the test's hand."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.auth.keys import KeyRing
from multiproto.auth.token_cache import TokenCache
from multiproto.auth.tokens import JwtTokens
from multiproto.base.timestamps import format_timestamp
from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.errors import Conflict, Unauthorized
from multiproto.core.idempotency import IdempotentSends, SendResult
from multiproto.core.protocol import (
    Authenticate,
    Authenticated,
    CloseReason,
    Delivery,
    Farewell,
    Ping,
    Pong,
    Publish,
    Subscribe,
    TokenExpiring,
)
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.log_freshness import LogFreshness
from multiproto.core.transactions import Event
from multiproto.log.canary import FRESH_FOR, INTERVAL, Canary
from multiproto.observe.health import PROBE_TIMEOUT, HealthMonitor, Probe
from multiproto.observe.wall_clock import WallClock

from .auth.test_authenticator import ANN
from .fakes import (
    MemoryLog,
    PlainPasswords,
    RecordingTransport,
    make_account_services,
    make_authenticator,
    make_core,
    sequential_ids,
)
from .stores import StoreCase

START = 1_800_000_000.0  # seconds since the epoch
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LEAPS = (10 * MINUTE, -HOUR, 40 * DAY, -40 * DAY)  # seconds
TOKEN_LIFETIME = 900.0  # seconds


class TwoClocks:
    """`clock` for intervals, and `now`, which is `leap` seconds from what it would be."""

    def __init__(self) -> None:
        self.clock, self.leap = Clock(), 0.0
        self.clock.advance(1000)

    def now(self) -> float:
        return START + self.leap + self.clock.seconds()


class LoginStoreCase(StoreCase):
    """Accounts and an authenticator on a real store, by two clocks."""

    async def asyncSetUp(self) -> None:
        self.time = TwoClocks()
        self.wall_clock = WallClock(self.time.clock, self.time.now)
        ring = KeyRing.build("s" * 32)
        new_id = Uuid7Generator(self.time.now)
        tokens = JwtTokens(lambda: ring, int(TOKEN_LIFETIME), "15m", self.time.now, new_id)
        own = make_account_services(
            self.store,
            PlainPasswords(),
            tokens,
            self.time.clock,
            self.time.now,
            new_id,
            wall_clock=self.wall_clock,
        )
        self.dispatcher = Dispatcher()
        self.dispatcher.freshness = LogFreshness(self.time.clock)
        self.authenticator = make_authenticator(
            tokens,
            self.store,
            self.dispatcher,
            own.failed_attempts,
            self.time.now,
            clock=self.time.clock,
            wall_clock=self.wall_clock,
        )
        self.authenticator._cache = TokenCache(self.dispatcher, self.time.clock, self.time.now, 300.0)
        self.sessions, self.credentials = own.login_sessions, own.credentials
        await own.accounts.register(ANN)

    async def is_valid(self, token: str) -> bool:
        try:
            await self.authenticator.authenticate(token)
        except Unauthorized:
            return False
        return True


class ConnectionTests(LoginStoreCase):
    """A connection of a real token: what the peer is told, second by second."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        limits = ConnectionLimits(auth_timeout=10, ping_interval=30, idle_timeout=60)
        self.core = make_core(self.time.clock)
        self.core.hub._authenticator = self.authenticator
        self.admission = self.core.admission(limits=limits)

    def connect(self) -> tuple[RecordingTransport, Any]:
        peer = RecordingTransport()
        return peer, self.core.hub.admit(peer, "192.0.2.1", self.admission)

    async def log_in(self) -> tuple[RecordingTransport, Any]:
        self.time.leap = 0.0
        token = (await self.sessions.login(ANN)).token
        await self.authenticator.authenticate(token)  # the cache has it now, so the connection need not wait
        peer, connection = self.connect()
        self.dispatcher.freshness.mark_current(self.time.clock.seconds())  # type: ignore[union-attr]
        connection.receive(Authenticate(token))
        while not peer.sent:
            await self.next_turn()
        self.assertIsInstance(peer.sent[0], Authenticated)
        return peer, connection

    async def next_turn(self) -> None:
        from twisted.internet import reactor

        turn: Deferred[None] = Deferred()
        reactor.callLater(0.001, turn.callback, None)  # type: ignore[attr-defined]
        await turn

    async def test_who_does_not_authenticate_in_time_is_closed_in_time(self) -> None:
        for leap in LEAPS:
            self.time.leap = 0.0
            peer, _ = self.connect()
            self.time.leap = leap
            self.time.clock.pump([1.0] * 9)
            self.assertEqual(peer.sent, [], leap)
            self.time.clock.advance(1)
            self.assertEqual([each.reason for each in peer.sent], [CloseReason.AUTH_TIMEOUT], leap)

    async def test_it_is_pinged_and_ends_of_silence_as_ever(self) -> None:
        for leap in LEAPS:
            peer, _ = await self.log_in()
            self.time.leap = leap
            self.time.clock.pump([1.0] * 59)
            self.assertEqual(peer.sent[1:], [Ping()], leap)
            self.time.clock.advance(1)
            self.assertEqual(peer.sent[-1].reason, CloseReason.IDLE_TIMEOUT, leap)  # type: ignore[union-attr]

    async def test_its_token_ends_after_its_lifetime_with_a_warning_before(self) -> None:
        for leap in LEAPS:
            peer, connection = await self.log_in()
            expires_at = connection.identity.expires_at
            connection.receive(Subscribe("room.*", ref=1))
            self.time.leap = leap
            for _ in range(int(TOKEN_LIFETIME) - 1):
                connection.receive(Pong())
                connection.on_activity()
                self.time.clock.advance(1)
            connection.receive(Publish("room.1", "still there"))
            self.assertEqual(
                [each.content for each in peer.sent if isinstance(each, Delivery)], ["still there"]
            )
            told = [each for each in peer.sent if isinstance(each, (TokenExpiring, Farewell))]
            self.assertEqual(told, [TokenExpiring(expires_at)], leap)
            self.time.clock.advance(1)
            self.assertEqual(peer.sent[-1].reason, CloseReason.TOKEN_EXPIRED, leap)  # type: ignore[union-attr]


class LoginTests(LoginStoreCase):
    async def test_a_request_is_judged_by_the_time_of_day_whether_or_not_its_token_is_cached(self) -> None:
        for leap, valid in zip(LEAPS, (True, True, False, True)):
            self.time.leap = 0.0
            login = await self.sessions.login(ANN)
            for cached in (False, True):
                if cached:
                    self.dispatcher.freshness.mark_current(self.time.clock.seconds())  # type: ignore[union-attr]
                    self.assertTrue(await self.is_valid(login.token))
                self.time.leap = leap
                self.assertEqual(await self.is_valid(login.token), valid, (leap, cached))
                self.time.leap = 0.0

    async def test_a_refresh_token_is_good_for_its_true_lifetime(self) -> None:
        for leap in LEAPS:
            self.time.leap = 0.0
            login = await self.sessions.login(ANN)
            self.time.leap = leap
            again = await self.sessions.refresh({"refreshToken": login.refresh_token})
            self.assertTrue(await self.is_valid(again.token), leap)
            who = await self.authenticator.authenticate(again.token)
            self.assertIn(who.session_id, [each.id for each in await self.sessions.list_active(who)])
            await self.sessions.logout_all(who)
            self.assertEqual(await self.sessions.list_active(who), ())

    async def test_a_session_that_began_meanwhile_outlives_the_leap(self) -> None:
        for leap in LEAPS:
            self.time.leap = leap
            login = await self.sessions.login(ANN)
            self.assertTrue(await self.is_valid(login.token), leap)
            self.time.leap = 0.0
            await self.sessions.refresh({"refreshToken": login.refresh_token})

    async def test_a_refresh_token_still_ends(self) -> None:
        login = await self.sessions.login(ANN)
        self.time.clock.advance(7 * DAY + 1)
        with self.assertRaises(Unauthorized):
            await self.sessions.refresh({"refreshToken": login.refresh_token})

    async def test_a_credential_is_good_for_its_true_lifetime(self) -> None:
        who = await self.authenticator.authenticate((await self.sessions.login(ANN)).token)
        grants = [{"pattern": "a", "verbs": ["publish"]}]
        made = await self.credentials.create(who, {"name": "pump", "grants": grants, "expiresIn": "30d"})
        for leap in LEAPS:
            self.time.leap = leap
            self.assertTrue(await self.is_valid(made.secret), leap)
            self.assertEqual(len(await self.credentials.list_active(who)), 1, leap)
        self.time.leap = 0.0
        self.time.clock.advance(30 * DAY + 1)
        self.assertFalse(await self.is_valid(made.secret))

    def make_sends(self) -> IdempotentSends:
        return IdempotentSends(self.store, self.wall_clock.deletion_now, self.wall_clock.time_behind)

    async def test_an_idempotency_key_that_was_used_meanwhile_outlives_the_leap(self) -> None:
        """Also for a server that is started when the time of day is right again."""
        who = await self.authenticator.authenticate((await self.sessions.login(ANN)).token)
        new_id = sequential_ids("e")

        async def send(sends: IdempotentSends, key: str) -> SendResult:
            id = new_id()
            event = Event(id, "publication", ("a",), None, "", format_timestamp(self.time.now()), "a")
            return await sends.commit(who.user_id, key, "body", (), event, id)

        for leap in LEAPS:
            self.time.leap = leap
            first = await send(self.make_sends(), str(leap))
            self.time.leap = 0.0
            restarted = IdempotentSends(self.store, self.time.now)
            self.assertEqual(await send(restarted, str(leap)), first, leap)

    async def test_an_idempotency_key_is_kept_for_its_true_lifetime(self) -> None:
        who = await self.authenticator.authenticate((await self.sessions.login(ANN)).token)
        sends = self.make_sends()
        new_id = sequential_ids("e")

        async def send(body: str) -> str:
            id = new_id()
            event = Event(id, "publication", ("a",), None, "", format_timestamp(self.time.now()), "a")
            return (await sends.commit(who.user_id, "key", body, (), event, id)).result_id

        first = await send("body")
        for leap in LEAPS:
            self.time.leap = leap
            self.assertEqual(await send("body"), first, leap)
            with self.assertRaises(Conflict):
                await send("another")
        self.time.leap = 0.0
        self.time.clock.advance(DAY + 1)
        self.assertNotEqual(await send("another"), first)


class ReadinessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.time = TwoClocks()

    def test_a_dead_database_is_noticed_in_time_and_only_that(self) -> None:
        log, dispatcher = MemoryLog(), Dispatcher()
        canary = Canary(log, dispatcher, self.time.clock, self.time.now, sequential_ids("c"))
        canary.startService()
        self.addCleanup(canary.stopService)

        def follow() -> None:
            for entry in log.entries[dispatcher.position :]:
                dispatcher.dispatch_logged(entry)

        follow()
        for leap in LEAPS:
            self.time.leap = leap
            self.assertTrue(canary.is_fresh, leap)
            self.time.clock.pump([INTERVAL] * 2)
            follow()
            self.assertTrue(canary.is_fresh, leap)
            self.assertEqual(log.entries[-1].event.occurred_at, format_timestamp(self.time.now()))
            self.time.clock.pump([INTERVAL] * 2 + [FRESH_FOR])  # nobody follows
            self.assertFalse(canary.is_fresh, leap)
            follow()
            self.time.clock.advance(INTERVAL)
            follow()

    def test_a_probe_without_an_answer_is_given_up(self) -> None:
        probe = Probe("database", Deferred, required=True)
        started = self.time.clock.seconds()
        health = HealthMonitor(self.time.clock, self.time.now, (probe,), lambda: True, started)
        for leap in LEAPS:
            self.time.leap = 0.0
            reported = Deferred.fromCoroutine(health.report())
            self.time.leap = leap
            self.assertNoResult(reported)
            self.time.clock.advance(PROBE_TIMEOUT)
            status, document = self.successResultOf(reported)
            self.assertEqual((status, document["uptime"]), (503, self.time.clock.seconds() - started), leap)
            self.assertEqual(document["timestamp"], format_timestamp(self.time.now()))
