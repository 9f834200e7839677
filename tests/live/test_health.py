"""`/health` of whole servers whose database can be read but not written."""

from __future__ import annotations

import contextlib  # trial takes a `suppress` of this module for its own
from itertools import count
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs, formatEvent

from multiproto.config import Config
from multiproto.core.errors import Refusal, Unavailable
from tests.servers import Postgres, needs
from tests.storage.units import event, say

from ..timing import Stopwatch
from .clients import Rest
from .running import LiveCase


class HealthCase(LiveCase):
    async def health(self) -> tuple[int, str, str]:
        """Its status, what it says, and what it says of the database."""
        status, body = await Rest(self.address).ask("GET", "/health")
        return status, body["status"], body["dependencies"]["database"]["status"]

    async def until(self, wanted: tuple[int, str, str], what: str) -> None:
        waiting = Stopwatch()
        while await self.health() != wanted:
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        waiting.stop(what, 5)

    async def can_read(self) -> bool:
        store: Any = self.server.getServiceNamed("store")
        try:
            await store.head()
        except Refusal:
            return False
        return True


ILL, WELL = (503, "unhealthy", "down"), (200, "healthy", "up")


class FullDiskTests(HealthCase):
    async def test_an_idle_server_whose_disk_is_full_is_unhealthy_until_there_is_room(self) -> None:
        """SQLite refuses to make its file larger, as it does when the disk does."""
        self.assertEqual(await self.health(), WELL)
        writer = self.server.getServiceNamed("store")._resources.threads["write"]._workers[0]
        (pages,) = writer._connection.execute("PRAGMA page_count").fetchone()
        writer._connection.execute(f"PRAGMA max_page_count = {pages}")
        with capturedLogs() as logged:
            await self.fill()
        said = [formatEvent(each) for each in logged if each["log_level"] == LogLevel.error]
        why = f"writes to {self.config.storage.directory} failed, of which none was acknowledged: database or disk is full"
        self.assertRegex(said[0], f"^[0-9]+ {why}$")
        await self.until(ILL, "a full disk is said")
        self.assertTrue(await self.can_read())
        writer._connection.execute(f"PRAGMA max_page_count = {pages + 100_000}")
        await self.until(WELL, "a disk that has room again is said")

    async def fill(self) -> None:
        """Write until the last page is used up."""
        store: Any = self.server.getServiceNamed("store")
        with contextlib.suppress(Unavailable):
            for number in count():
                await store.commit(say(event(f"full{number}", "x", text="x" * 10_000)))


@needs("postgresql")
class DemotedTests(HealthCase):
    def configure(self, config: Config) -> Config:
        self.postgres = Postgres()
        self.addCleanup(self.postgres.stop)
        config = super().configure(config)
        return evolve(config, storage=evolve(config.storage, url=self.postgres.new_database()))

    async def test_a_primary_that_became_a_standby_is_unhealthy_until_it_is_promoted(self) -> None:
        self.assertEqual(await self.health(), WELL)
        self.postgres.kill()
        await deferToThread((self.postgres.directory / "data/standby.signal").touch)
        self.postgres.start()
        while not await self.can_read():
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        await self.until(ILL, "a primary that became a standby is said")
        self.postgres._do("SELECT pg_promote()")
        await self.until(WELL, "a standby that was promoted is said")
