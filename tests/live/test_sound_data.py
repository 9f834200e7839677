"""Whatever clients may do, `check-data` finds no damage in what comes of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Iterable, Sequence

import psycopg
from attrs import evolve
from twisted.internet.threads import deferToThread

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.storage.check import RowsRead
from multiproto.storage.postgresql import check as postgresql_check
from multiproto.storage.sqlite import check as sqlite_check
from multiproto.storage.sqlite.store import DATABASE_FILE
from tests.canary import PASSWORD

from .clients import Address, Rest
from .running import LiveCase, Shared

# Rows that are there for a moment only, until what they ask for is done.
PASSING = {"closed_accounts", "outdated_emails"}


class SoundDataTests(LiveCase):
    here: Address

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(
            config,
            namespaces=(Namespace("telemetry.**", 3600.0, None),),
            auth=evolve(config.auth, operators=("ann@example.org", "nobody@example.org")),
        )

    async def asyncSetUp(self) -> None:
        self.here = self.addresses[0]

    def find_damage(self, read: RowsRead) -> Iterable[str]:
        return sqlite_check.find_damage(Path(self.config.storage.directory) / DATABASE_FILE, read)

    def ask(self, query: str) -> list[str]:
        """The texts in the only column of the answer."""
        with closing(sqlite3.connect(Path(self.config.storage.directory) / DATABASE_FILE)) as connection:
            return [text for (text,) in connection.execute(query)]

    def tables(self) -> list[str]:
        return self.ask("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")

    async def done(self, rest: Rest, method: str, path: str, body: Any = None, **headers: str) -> Any:
        status, answer = await rest.ask(method, f"/api/v1{path}", body, **headers)
        self.assertLess(status, 300, (method, path, answer))
        return answer and answer["data"]

    async def log_in(self, email: str, **headers: str) -> Any:
        fields = {"email": email, "password": PASSWORD}
        return await self.done(Rest(self.here), "POST", "/auth/login", fields, **headers)

    async def use_sessions(self) -> None:
        """Logins, a refresh, its repetition, a theft, and each way to log out; and attempts."""
        login = await self.log_in("Ann@example.org", **{"User-Agent": 'a { "client" \\'})
        spent = login["refreshToken"]
        for _ in range(2):
            fresh = await self.done(Rest(self.here), "POST", "/auth/refresh", {"refreshToken": spent})
        await self.done(Rest(self.here), "POST", "/auth/refresh", {"refreshToken": fresh["refreshToken"]})
        status, _ = await Rest(self.here).ask("POST", "/api/v1/auth/refresh", {"refreshToken": spent})
        self.assertEqual(status, 401)
        for email in ("ann@example.org", "nobody@example.org"):
            wrong = {"email": email, "password": f"{PASSWORD}?"}
            self.assertEqual((await Rest(self.here).ask("POST", "/api/v1/auth/login", wrong))[0], 401)
        self.assertEqual((await Rest(self.here, "no token").ask("GET", "/api/v1/auth/me"))[0], 401)
        ann = Rest(self.here, (await self.log_in("ann@example.org"))["token"])
        await self.done(ann, "POST", "/auth/logout")
        ann = Rest(self.here, (await self.log_in("ann@example.org"))["token"])
        await self.done(
            ann, "DELETE", f"/auth/sessions/{(await self.done(ann, 'GET', '/auth/sessions'))[1]['id']}"
        )
        await self.done(ann, "POST", "/auth/logout-all", {"credentials": True})

    async def use_credentials(self, ann: Rest) -> None:
        """One that is used, one that is revoked."""
        for name in ("pump", "lamp"):
            grants = [
                {"pattern": f"telemetry.{name}.**", "verbs": ["publish", "subscribe", "history"]},
                {"pattern": f"live.{name}", "verbs": ["publish"]},
            ]
            fields = {"name": name, "grants": grants, "expiresIn": "30d"}
            made = await self.done(ann, "POST", "/auth/credentials", fields)
            device = Rest(self.here, made["credential"])
            await self.done(
                device,
                "POST",
                f"/topics/telemetry.{name}.heat",
                {"data": None},
                **{"Idempotency-Key": f"key of {name}"},
            )
        await self.done(ann, "DELETE", f"/auth/credentials/{made['id']}")

    async def send(self, ann: Rest, bob: str) -> None:
        """Messages and publications, with a key and without; twice, and one that is deleted."""
        sent: dict[str, Any] = {}
        for number, fields in enumerate(
            ({"recipientId": bob}, {"channelId": "c"}, {"recipientId": bob, "channelId": "c"})
        ):
            for key in ({}, {"Idempotency-Key": f"key {number}"}):
                for _ in range(2):
                    sent = await self.done(ann, "POST", "/messages", {**fields, "content": "{ \\"}, **key)
        await self.done(ann, "DELETE", f"/messages/{sent['id']}")
        for topic in ("telemetry.1", "live.1"):
            values: Sequence[Any] = (None, 1.5, "{", [], {"a": "\0\N{SNOWMAN}"})
            for data in values:
                await self.done(ann, "POST", f"/topics/{topic}", {"data": data})
                await self.done(ann, "POST", f"/topics/{topic}", {"data": data, "metadata": {"m": data}})
        for mutation in (
            'sendMessage(input: {content: "x", channelId: "c"}, idempotencyKey: "g1") { id }',
            'publish(topic: "telemetry.2", data: {a: 1}, idempotencyKey: "g2") { cursor }',
        ):
            answer = await ann.graphql(f"mutation {{ {mutation} }}")
            self.assertNotIn("errors", answer)

    async def change_accounts(self, ann: Rest, id: str) -> None:
        """A name, an address, a password; and an account that is closed, with its messages."""
        for fields in ({"name": "Ann O’Neil"}, {"email": "ann.2@example.org"}, {"password": f"{PASSWORD}2"}):
            await self.done(ann, "PUT", f"/users/{id}", {**fields, "currentPassword": PASSWORD})
        eve = await self.person("Eve")
        await self.done(
            eve.rest, "POST", "/messages", {"content": "x", "recipientId": id}, **{"Idempotency-Key": "k"}
        )
        await self.done(eve.rest, "DELETE", f"/users/{eve.id}", {"currentPassword": PASSWORD})

    async def test_no_damage_is_found(self) -> None:
        bob = await self.person("Bob")
        ann = await self.person("Ann")
        await self.use_sessions()
        ann.rest.token = (await self.log_in("ann@example.org"))["token"]
        await self.use_credentials(ann.rest)
        await self.send(ann.rest, bob.id)
        await self.server.getServiceNamed("operators").grant(bob.id)
        await self.change_accounts(ann.rest, ann.id)
        await self.told_everywhere()
        read = RowsRead()
        self.assertEqual(await deferToThread(lambda: list(self.find_damage(read))), [])
        empty = [table for table in self.tables() if not self.ask(f"SELECT 'x' FROM {table} LIMIT 1")]
        self.assertLessEqual(set(empty), PASSING)


class SharedSoundDataTests(Shared, SoundDataTests):
    def find_damage(self, read: RowsRead) -> Iterable[str]:
        return postgresql_check.find_damage(self.database, read)

    def ask(self, query: str) -> list[str]:
        with psycopg.connect(self.database) as connection:
            return [text for (text,) in connection.execute(query.encode())]

    def tables(self) -> list[str]:
        return self.ask("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
