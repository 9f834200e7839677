"""Authentication on a real store: what credentials and tokens prove, what it costs, and what is recorded of it."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from multiproto.auth.credential_format import RandomCredentialIssuer
from multiproto.auth.keys import KeyRing
from multiproto.auth.token_cache import TokenCache
from multiproto.auth.tokens import JwtTokens
from multiproto.base.timestamps import format_timestamp
from multiproto.core.client_info import ClientInfo
from multiproto.core.domain.credentials import NewCredential
from multiproto.core.errors import Unauthorized
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.log_freshness import LogFreshness
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE
from multiproto.core.transactions import Entry, Query, Snapshot
from tests.canary import PASSWORD

from ..fakes import PlainPasswords, make_account_services, make_authenticator
from ..stores import StoreCase

ANN = {"email": "ann@example.org", "name": "Ann", "password": PASSWORD}
GRANTS = [{"pattern": "devices.pump.**", "verbs": ["publish", "subscribe"]}]


class AuthenticatorCase(StoreCase):
    async def asyncSetUp(self) -> None:
        ring = KeyRing.build("s" * 32)
        tokens = JwtTokens(lambda: ring, 900, "15m", self.now, self.new_id)
        self.seen: list[tuple[str, str]] = []
        own = make_account_services(self.store, PlainPasswords(), tokens, reactor, self.now, self.new_id)
        self.dispatcher, self.attempts = Dispatcher(), own.failed_attempts
        self.authenticator = make_authenticator(
            tokens, self.store, self.dispatcher, self.attempts, self.now, self, reactor
        )
        self.accounts, self.sessions, self.keyring = own.accounts, own.login_sessions, own.credentials
        self.ann = (await self.accounts.register(ANN)).value.id
        self.token = (await self.sessions.login(ANN)).token
        self.who = await self.authenticator.authenticate(self.token)
        self.seen.clear()

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        """What the cache does is seen by the reads of the store."""

    def auth(self, method: str, outcome: str) -> None:
        self.seen.append((method, outcome))

    async def make(self, **fields: Any) -> NewCredential:
        return await self.keyring.create(self.who, {"name": "pump", "grants": GRANTS, **fields})

    async def refused(self, secret: str) -> tuple[str, str]:
        with self.assertRaises(Unauthorized) as caught:
            await self.authenticator.authenticate(secret)
        return str(caught.exception), caught.exception.reason


class VerificationTests(AuthenticatorCase):
    async def test_whose_it_is_and_what_it_may(self) -> None:
        made = await self.make()
        grants = (Grant("devices.pump.**", [PUBLISH, SUBSCRIBE]),)
        found = await self.authenticator.authenticate(made.secret)
        self.assertEqual(found, Identity(self.ann, made.credential.id, float("inf"), "pump", grants))
        self.assertEqual((self.who.device_name, self.who.grants), (None, None))
        await self.authenticator.authenticate(self.token)
        self.assertEqual(self.seen, [("credential", "success"), ("token", "success")])

    async def test_until_it_expires(self) -> None:
        made = await self.make(expiresIn="90s")
        until = (await self.authenticator.authenticate(made.secret)).expires_at
        self.assertEqual(format_timestamp(until), made.credential.expires_at)
        self.clock_ahead = 90.0
        self.assertEqual(await self.refused(made.secret), ("Credential expired", "expired"))
        self.assertEqual(self.seen, [("credential", "success"), ("credential", "expired")])

    async def test_until_it_is_revoked(self) -> None:
        made = await self.make()
        await self.keyring.revoke(self.who, made.credential.id)
        self.assertEqual(await self.refused(made.secret), ("Credential unknown or revoked", "revoked"))

    async def test_until_its_user_is_gone(self) -> None:
        made = await self.make()
        await self.accounts.close(self.who, self.ann)
        self.assertEqual(await self.refused(made.secret), ("Credential unknown or revoked", "revoked"))

    async def test_the_id_alone_is_not_enough(self) -> None:
        """Made by who knows the form, with a good checksum: all but the random part is right."""
        made = await self.make()
        forged, _ = RandomCredentialIssuer().issue(made.credential.id)
        self.assertEqual(await self.refused(forged), ("Invalid credential", "invalid"))

    async def test_what_is_mistyped_costs_no_read(self) -> None:
        made = await self.make()
        self.reads_and_writes.clear()
        for text in ("mpd_", made.secret[:-1], made.secret[:-1] + ("a" if made.secret[-1] != "a" else "b")):
            self.assertEqual(await self.refused(text), ("Invalid credential", "invalid"))
        self.assertEqual(self.reads_and_writes, [])
        self.assertEqual(self.seen, [("credential", "invalid")] * 3)
        await self.authenticator.authenticate(made.secret)
        self.assertEqual(self.reads_and_writes, ["read"])


class RecordingTests(AuthenticatorCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.client = ClientInfo("websocket", "192.0.2.9")

    async def written(self) -> list[tuple[object, ...]]:
        """(outcome, protocol, address, times) of each failed attempt in the audit log."""
        await self.attempts.stopService()
        asked = {"action": "token", "limit": 100, "offset": 0, "bound": 2**63 - 1}
        rows = (await self.store.read(Query("audit_page_by_action", asked))).results[0]
        return [(row["outcome"], row["protocol"], row["address"], row["times"]) for row in rows]

    async def test_failures_are_in_the_audit_log(self) -> None:
        """Not a token that has expired: every client has one in time."""
        made = await self.make(expiresIn="90s")
        forged, _ = RandomCredentialIssuer().issue(made.credential.id)
        for secret in (forged, forged, "no token"):
            with self.assertRaises(Unauthorized):
                await self.authenticator.authenticate(secret, self.client)
        self.clock_ahead = 90.0
        self.assertEqual((await self.refused(made.secret))[1], "expired")
        self.assertEqual(await self.written(), [("invalid", "websocket", "192.0.2.9", 3)])

    async def test_the_use_of_credentials_is_recorded_and_that_of_tokens_is_not(self) -> None:
        made = await self.make()
        await self.authenticator.authenticate(made.secret, self.client)
        await self.authenticator.authenticate(self.token, self.client)
        await self.authenticator._usage.stopService()
        ((row,),) = (await self.store.read(Query("credentials_of_user", {"user_id": self.ann}))).results
        self.assertEqual(row["last_used_from"], "192.0.2.9")


class CacheTests(AuthenticatorCase):
    """With the cache that a server has."""

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        clock: Any = reactor
        self.dispatcher.freshness = LogFreshness(clock)
        self.dispatcher.freshness.mark_current(clock.seconds())
        self.authenticator._cache = TokenCache(self.dispatcher, clock, self.now, 300.0)

    async def test_the_store_is_asked_once_and_each_time_is_counted(self) -> None:
        made = await self.make()
        self.reads_and_writes.clear()
        for secret in (self.token, made.secret) * 2:
            await self.authenticator.authenticate(secret)
        self.assertEqual(self.reads_and_writes, ["read", "read"])
        self.assertEqual(self.seen, [("token", "success"), ("credential", "success")] * 2)

    async def test_revoked_while_the_store_was_asked(self) -> None:
        """The store still had the session; the log told of its end before the answer came."""
        store, log_tells = self.store, self.dispatcher.dispatch_logged
        ended = self.events.sessions_revoked(self.ann, [self.who.session_id], format_timestamp(self.now()))

        class SlowStore:
            async def read(self, *queries: Query) -> Snapshot:
                snapshot = await store.read(*queries)
                log_tells(Entry(1, "cursor1", ended))
                return snapshot

        slow: Any = SlowStore()
        self.authenticator._store = slow
        self.assertEqual(await self.refused(self.token), ("Token revoked", "revoked"))
        self.assertEqual(len(self.authenticator._cache), 0)
        self.assertEqual(self.seen, [("token", "revoked")])
