"""Accounts with 200,000 events behind them are changed while others go on writing, on both engines, over `kill -9`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.storage.sqlite.store import DATABASE_FILE
from tests import canary
from tests.servers import needs, postgresql

from .clients import Person
from .test_twistd import TwistdCase

ROWS = 200_000
OLD_EMAIL = "ann@example.org"  # as `Person.register` has it

# In both engines' SQL; `series` is a table of the numbers from 1 to ROWS.
LAST = "(SELECT max(position) FROM events)"
FILL_UPDATES = f"""
INSERT INTO events (position, id, type, topics, content, subject, created_at, namespace)
SELECT {LAST} + n, 'filled-' || n, 'user.updated', '["users","users.' || users.id || '"]',
       '{{{{"user":{{{{"id":"' || users.id || '","email":"' || users.email || '","name":"ann","n":' || n || '}}}}}}}}',
       users.id, users.created_at, 'users.**'
FROM users, series WHERE users.name = 'ann'
"""
# Of `ann`: half of them in a channel, half of them to `bob`.
FILL_MESSAGES = f"""
INSERT INTO messages (id, user_id, content, channel_id, recipient_id, created_at, updated_at, position)
SELECT {{id}}, ann.id, 'filled', CASE n % 2 WHEN 0 THEN 'c' END, CASE n % 2 WHEN 1 THEN bob.id END,
       ann.created_at, ann.created_at, {LAST} + n
FROM users AS ann, users AS bob, series WHERE ann.name = 'ann' AND bob.name = 'bob'
"""
FILL_SENT = f"""
INSERT INTO events (position, id, type, topics, content, subject, created_at, namespace)
SELECT {LAST} + n, 'filled-' || n, 'message.sent', '["messages.user.' || bob.id || '"]',
       '{{{{"message":{{{{"userId":"' || ann.id || '","recipientId":"' || bob.id || '","content":"filled"}}}}}}}}',
       {{id}}, ann.created_at, 'messages.**'
FROM users AS ann, users AS bob, series WHERE ann.name = 'ann' AND bob.name = 'bob'
"""
# How much is still to be erased.
EVENTS_LEFT = "SELECT coalesce(sum(position - erased_upto), 0) FROM outdated_emails"
MESSAGES_LEFT = "SELECT count(*) FROM messages JOIN closed_accounts USING (user_id)"
ACCOUNTS_LEFT = "SELECT count(*) FROM closed_accounts"
OLD_ADDRESSES = f"SELECT count(*) FROM events WHERE content LIKE '%{OLD_EMAIL}%'"


class LargeAccountCase(TwistdCase):
    """On SQLite; a subclass has the same on PostgreSQL."""

    environment: dict[str, str] = {}
    move_head = f"UPDATE head SET position = {LAST}"
    padded = "substr('000000000000' || n, -12)"
    series = f"""
        WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {ROWS})"""

    def execute(self, statement: str) -> None:
        with closing(sqlite3.connect(self.data / DATABASE_FILE)) as database, database:
            database.execute(statement)

    def count(self, query: str) -> int:
        with closing(sqlite3.connect(self.data / DATABASE_FILE)) as database:
            return int(database.execute(query).fetchone()[0])

    async def begin(self) -> None:
        """A server with two people."""
        self.limits = {"RATE_LIMIT_USER_MAX": "100000", "JWT_SECRET": canary.SECRET, **self.environment}
        self.started = await self.start(**self.limits).ready()
        self.ann, self.bob = [await Person.register(self.started.address, name) for name in ("ann", "bob")]

    async def fill(self, *statements: str) -> None:
        """Put rows into the database between two runs of the server; `self.cursor` is behind all but the last of them."""
        _, answer = await self.bob.rest.ask("GET", f"/api/v1/users/{self.bob.id}")
        term, _, head = answer["cursor"].rpartition(".")
        self.cursor = f"{term}.{int(head) + ROWS - 50}"  # they are written in the term that ends
        await self.kill()
        for statement in statements:
            self.execute(self.series + statement.format(id=f"'00000000-0000-7000-8000-' || {self.padded}"))
        self.execute(self.move_head)
        await self.start_again()

    async def kill(self) -> None:
        self.started.program.signal("KILL")
        await self.started.program.ended

    async def start_again(self) -> None:
        self.started = await self.start(address=self.started.address, **self.limits).ready()

    async def writes_meanwhile(self, remaining: str, until: int) -> int:
        """Bob sends one message after another until no more than `until` are left of what `remaining` counts.

        They are acknowledged between the batches, not before or behind them all; gives how many there were.
        """
        left = [self.count(remaining)]
        while left[-1] > until:
            status, answer = await self.bob.rest.ask(
                "POST", "/api/v1/messages", {"content": "meanwhile", "channelId": "c"}
            )
            self.assertEqual(status, 201, answer)
            left.append(self.count(remaining))
            await deferLater(reactor, 0.02)
        self.assertGreater(len([each for each in set(left) if until < each < left[0]]), 2, left)
        return len(left) - 1

    async def resume(self, topic: str) -> list[Any]:
        """What one who resumes from the cursor reads of the log."""
        socket = await self.bob.websocket()
        socket.say(type="subscribe", topic=topic, after=self.cursor)
        said = [await socket.inbox.next()]
        self.assertTrue(said[0]["recovered"], said[0])
        while said[-1]["type"] != "caught_up":
            said.append(await socket.inbox.next())
        await self.bob.leave()
        return [each["data"] for each in said if each["type"] == "message"]


class LargeAccountTests(LargeAccountCase):
    async def test_a_change_of_address(self) -> None:
        await self.begin()
        await self.fill(FILL_UPDATES)
        self.assertEqual(self.count(OLD_ADDRESSES), ROWS + 1)
        status, answer = await self.ann.rest.ask(
            "PUT", f"/api/v1/users/{self.ann.id}", {"email": "new@example.org"}
        )
        self.assertEqual(status, 200, answer)

        async def check_hidden() -> None:
            *old, newest = await self.resume("users.**")
            self.assertEqual(newest["user"]["email"], "new@example.org")
            self.assertEqual([each["user"].get("email") for each in old], [None] * len(old))
            self.assertTrue(old)

        await self.writes_meanwhile(EVENTS_LEFT, ROWS // 2)
        await self.kill()
        self.assertGreater(self.count(OLD_ADDRESSES), 0)
        await self.start_again()
        await check_hidden()
        await self.writes_meanwhile(EVENTS_LEFT, 0)
        await check_hidden()
        self.assertEqual(self.count(OLD_ADDRESSES), 0)

    async def test_an_account_that_is_closed(self) -> None:
        await self.begin()
        await self.fill(FILL_MESSAGES, FILL_SENT)
        seen = await self.bob.rest.ask("GET", "/api/v1/messages?limit=1")
        self.assertEqual(seen[1]["data"]["pagination"]["total"], ROWS)
        status, answer = await self.ann.rest.ask("DELETE", f"/api/v1/users/{self.ann.id}")
        self.assertEqual(status, 204, answer)

        async def check_hidden() -> None:
            for filters in ("", "&channelId=c", f"&userId={self.bob.id}"):
                _, seen = await self.bob.rest.ask("GET", f"/api/v1/messages?limit=1{filters}")
                self.assertEqual(seen["data"]["pagination"]["total"], mine, filters)
            for path in (f"messages/00000000-0000-7000-8000-{ROWS:012}", f"users/{self.ann.id}"):
                self.assertEqual((await self.bob.rest.ask("GET", f"/api/v1/{path}"))[0], 404)
            said = await self.resume(f"messages.user.{self.bob.id}")
            self.assertEqual({each["message"]["content"] for each in said} - {"meanwhile"}, set())

        mine = await self.writes_meanwhile(MESSAGES_LEFT, ROWS // 2)
        await self.kill()
        self.assertGreater(self.count(MESSAGES_LEFT), 0)
        await self.start_again()
        await check_hidden()
        mine += await self.writes_meanwhile(MESSAGES_LEFT, 0)
        while self.count(ACCOUNTS_LEFT):
            await deferLater(reactor, 0.1)
        await check_hidden()
        self.assertEqual(self.count("SELECT count(*) FROM messages"), mine)
        self.assertEqual(self.count("SELECT count(*) FROM events WHERE content LIKE '%filled%'"), 0)


@needs("postgresql")
class SharedLargeAccountTests(LargeAccountTests):
    series = f"WITH series AS (SELECT generate_series(1, {ROWS}) AS n)"
    padded = "lpad(n::text, 12, '0')"
    move_head = f"INSERT INTO heads SELECT max(number) + 1, {LAST}, 'filled' FROM heads"

    def setUp(self) -> None:
        super().setUp()
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)
        self.environment = {"DATABASE_URL": self.database}

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.database) as database:
            database.execute(statement)

    def count(self, query: str) -> int:
        with psycopg.connect(self.database, row_factory=tuple_row) as database:
            (number,) = database.execute(query).fetchone() or (0,)
            return int(number)
