"""A server that starts with a wrong clock: what others have stored is still there when that is over.

The programs are real, and so is the time of day that one of them believes in (`tests.fake_clock`).
"""

from __future__ import annotations

import sqlite3
from typing import Any
from unittest import SkipTest

import psycopg
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.canary import PASSWORD, SECRET
from tests.fake_clock import DAY, FakeClock, NoFakeClock
from tests.servers import needs, postgresql

from . import test_twistd
from .clients import Rest
from .test_twistd import Started, TwistdCase

# The timer of pruning is the usual one, of half a minute, with another interval.
TWISTD = (
    "-c",
    "from multiproto.log import pruner; pruner.INTERVAL = 0.5; from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)
PRUNED_TABLES = ("events", "keys", "sessions", "refresh_tokens", "known_networks", "audit")
ROUNDS = 4  # of the pruner, at least
SETTINGS = {"NAMESPACES": '[{"match": "kept.**", "retention": "7d"}]', "AUDIT_RETENTION": "30d"}


class WrongClockCase(TwistdCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(test_twistd, "TWISTD", TWISTD)
        self.data.mkdir()
        try:
            self.clock = FakeClock.make(self.data)
        except NoFakeClock as why:
            raise SkipTest(str(why)) from None

    def start_server(self, **environment: str) -> Started:
        raise NotImplementedError

    def rows(self) -> dict[str, int]:
        """How many rows there are that could be pruned; canaries, which nobody misses, left out."""
        raise NotImplementedError

    async def use(self, server: Started) -> None:
        """Store something of everything that expires."""
        fields = {"email": "ann@example.org", "password": PASSWORD, "name": "ann"}
        self.rest = Rest(server.address)
        assert (await self.rest.ask("POST", "/api/v1/auth/register", fields))[0] == 201
        status, answer = await self.rest.ask("POST", "/api/v1/auth/login", fields)
        self.assertEqual(status, 200, answer)
        self.refresh_token = answer["data"]["refreshToken"]
        self.rest.token = answer["data"]["token"]
        self.published = await self.publish("first")
        await self.publish("second")

    async def publish(self, key: str) -> Any:
        status, answer = await self.rest.ask(
            "POST", "/api/v1/topics/kept.it", {"data": key}, **{"Idempotency-Key": key}
        )
        self.assertEqual(status, 202, answer)
        return answer["data"]["id"]

    async def prune(self, server: Started) -> None:
        """Give the pruner time for some rounds."""
        await deferLater(reactor, ROUNDS * 0.5)  # type: ignore[arg-type]
        self.assertFalse(server.program.ended.called, server.output)

    async def health(self, server: Started) -> Any:
        return (await Rest(server.address).ask("GET", "/health"))[1]

    async def nothing_is_lost(self, server: Started) -> None:
        """A repetition is recognized, and who was logged in still is."""
        self.rest.address = server.address
        status, answer = await self.rest.ask(
            "POST", "/api/v1/auth/refresh", {"refreshToken": self.refresh_token}
        )
        self.assertEqual(status, 200, answer)
        self.rest.token = answer["data"]["token"]
        self.assertEqual(await self.publish("first"), self.published)


@needs("postgresql")
class InstanceTests(WrongClockCase):
    """One of two instances; the other one and the database know the time."""

    def setUp(self) -> None:
        super().setUp()
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)

    def start_server(self, **environment: str) -> Started:
        self.data = self.data.with_name(self.data.name + "x")
        return self.start(DATABASE_URL=self.database, JWT_SECRET=SECRET, **SETTINGS, **environment)

    def rows(self) -> dict[str, int]:
        with psycopg.connect(self.database) as database:
            return {
                table: database.execute(
                    f"SELECT count(*) FROM {table}" + (" WHERE namespace <> '_canary'" * (table == "events"))  # type: ignore[arg-type]
                ).fetchone()[0]  # type: ignore[index]
                for table in PRUNED_TABLES
            }

    async def test_an_instance_that_starts_40_days_ahead_deletes_nothing(self) -> None:
        right = await self.start_server().ready()
        await self.use(right)
        stored = self.rows()
        self.clock.set(40 * DAY)
        wrong = await self.start_server(**self.clock.environment).ready()
        await self.prune(wrong)
        self.assertEqual(self.rows(), stored)
        health = await self.health(wrong)
        self.assertEqual(health["status"], "degraded")
        self.assertIn("ahead of the database's", health["clock"])
        self.assertEqual((await self.health(right))["status"], "healthy")
        await wrong.program.kill()
        await self.nothing_is_lost(right)

    async def test_what_an_instance_stores_whose_clock_is_8_days_behind_is_kept_by_the_others(self) -> None:
        right = await self.start_server().ready()
        self.clock.set(-8 * DAY)
        wrong = await self.start_server(**self.clock.environment).ready()
        await self.use(wrong)
        stored = self.rows()
        await self.prune(right)
        self.assertEqual(self.rows(), stored)
        self.assertIn("behind the database's", (await self.health(wrong))["clock"])
        await self.nothing_is_lost(right)


class EmbeddedTests(WrongClockCase):
    """There is no other clock: only what was stored last tells that it is hardly so late."""

    def start_server(self, **environment: str) -> Started:
        return self.start(**SETTINGS, **environment)

    def rows(self) -> dict[str, int]:
        with sqlite3.connect(self.data / "multiproto.db") as database:
            return {
                table: database.execute(
                    f"SELECT count(*) FROM {table}" + (" WHERE namespace <> '_canary'" * (table == "events"))
                ).fetchone()[0]
                for table in PRUNED_TABLES
            }

    async def test_a_start_with_a_clock_that_is_40_days_ahead_deletes_nothing(self) -> None:
        server = await self.start_server().ready()
        await self.use(server)
        await server.program.kill()
        stored = self.rows()
        self.clock.set(40 * DAY)
        server = await self.start_server(**self.clock.environment).ready()
        await self.prune(server)
        health = await self.health(server)
        await server.program.kill()
        self.assertEqual(self.rows(), stored)
        self.assertIn("pruned", health["pruning"])
        server = await self.start_server().ready()
        await self.nothing_is_lost(server)

    async def test_what_is_stored_with_a_clock_that_is_8_days_behind_outlives_that(self) -> None:
        server = await self.start_server().ready()
        await server.program.kill()
        self.clock.set(-8 * DAY)
        server = await self.start_server(**self.clock.environment).ready()
        await self.use(server)
        self.assertIn("behind that of the log's newest entry", (await self.health(server))["clock"])
        await server.program.kill()
        stored = self.rows()
        server = await self.start_server().ready()
        await self.prune(server)
        self.assertEqual(self.rows(), stored)
        await self.nothing_is_lost(server)
