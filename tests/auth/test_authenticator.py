"""The one door, on a real store: what credentials and tokens prove, and what they cost."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from multiproto.auth.authenticator import StoreAuthenticator
from multiproto.auth.credential_format import RandomCredentialIssuer
from multiproto.auth.keys import KeyRing
from multiproto.auth.tokens import JwtTokens
from multiproto.core.domain.credentials import NewCredential
from multiproto.core.errors import Unauthorized
from multiproto.core.identity import Grant, Identity
from multiproto.core.model import format_timestamp
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE
from tests.canary import PASSWORD

from ..fakes import make_account_services
from ..stores import StoreCase

ANN = {"email": "ann@example.org", "name": "Ann", "password": PASSWORD}
GRANTS = [{"pattern": "devices.pump.**", "verbs": ["publish", "subscribe"]}]


class PlainPasswords:
    async def hash(self, password: str, on_behalf_of: str = "") -> str:
        return password

    async def verify(self, password: str, hashed: str | None, on_behalf_of: str = "") -> bool:
        return password == hashed

    def check_capacity(self, on_behalf_of: str) -> None:
        """There always is."""


class GateTests(StoreCase):
    async def asyncSetUp(self) -> None:
        ring = KeyRing.build("s" * 32)
        tokens = JwtTokens(lambda: ring, 900, "15m", self.now, self.new_id)
        self.seen: list[tuple[str, str]] = []
        self.gate = StoreAuthenticator(tokens, self.store, self.now, lambda *seen: self.seen.append(seen))
        own = make_account_services(self.store, PlainPasswords(), tokens, reactor, self.now, self.new_id)
        self.accounts, self.sessions, self.keyring = own.accounts, own.login_sessions, own.credentials
        self.ann = (await self.accounts.register(ANN)).value.id
        self.token = (await self.sessions.login(ANN)).token
        self.who = await self.gate.authenticate(self.token)
        self.seen.clear()

    async def make(self, **fields: Any) -> NewCredential:
        return await self.keyring.create(self.who, {"name": "pump", "grants": GRANTS, **fields})

    async def refused(self, secret: str) -> tuple[str, str]:
        with self.assertRaises(Unauthorized) as caught:
            await self.gate.authenticate(secret)
        return str(caught.exception), caught.exception.reason

    async def test_whose_it_is_and_what_it_may(self) -> None:
        made = await self.make()
        grants = (Grant("devices.pump.**", [PUBLISH, SUBSCRIBE]),)
        found = await self.gate.authenticate(made.secret)
        self.assertEqual(found, Identity(self.ann, made.credential.id, float("inf"), "pump", grants))
        self.assertEqual((self.who.device_name, self.who.grants), (None, None))
        await self.gate.authenticate(self.token)
        self.assertEqual(self.seen, [("credential", "success"), ("token", "success")])

    async def test_until_it_expires(self) -> None:
        made = await self.make(expiresIn="90s")
        until = (await self.gate.authenticate(made.secret)).expires_at
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
        await self.gate.authenticate(made.secret)
        self.assertEqual(self.reads_and_writes, ["read"])
