"""A real store in a temporary directory, for tests of what stands on one."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.events import EventBuilder
from multiproto.core.idempotency import IdempotentSends
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.connection import connect
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.store import DATABASE_FILE, SqliteStore
from multiproto.storage.statements import load_statements, sql_directory


@cache
def migrated_database() -> bytes:
    """The file of an empty database that has had all migrations: to do them takes 20 ms, with each test."""
    with tempfile.TemporaryDirectory() as directory:
        file, sql = Path(directory) / DATABASE_FILE, sql_directory("sqlite")
        connection = connect(file, 1.0)
        migrate(connection, load_migrations(sql), load_statements(sql / "queries"), 0.0)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return file.read_bytes()


class StoreCase(TestCase):
    """`self.store` is open; a subclass may add an `asyncSetUp` of its own."""

    clock_ahead = 0.0  # seconds that `now` is ahead of the real time

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        (self.directory / DATABASE_FILE).write_bytes(migrated_database())
        self.reads_and_writes: list[str] = []
        self.store = SqliteStore(
            self.directory,
            reactor,
            reactor,
            lambda operation, *_: self.reads_and_writes.append(operation),
        )
        await self.store.startService()
        self.addCleanup(self.store.stopService)
        self.new_id = Uuid7Generator(self.now)
        self.events = EventBuilder(self.new_id)
        self.sends = IdempotentSends(self.store, self.now)
        await self.asyncSetUp()

    async def asyncSetUp(self) -> None:
        """What the subclass needs besides."""

    def now(self) -> float:
        return reactor.seconds() + self.clock_ahead  # type: ignore[attr-defined, no-any-return]

    async def log(self) -> list[tuple[str, tuple[str, ...], Any]]:
        """(type, topics, content) of all there is."""
        return [
            (e.event.type, e.event.topics, e.event.content) for e in await self.store.read_after(0, 10_000)
        ]

    def database_bytes(self) -> bytes:
        """Everything on the disk, journal included."""
        return b"".join(path.read_bytes() for path in self.directory.iterdir())
