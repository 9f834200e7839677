"""The database under running instances turns out to have another history: a backup, or a standby that was promoted."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg
from twisted.internet.defer import Deferred, ensureDeferred

from multiproto.core.errors import Refusal
from multiproto.storage.postgresql.store import PostgresStore
from tests.programs import postgresql_bin
from tests.storage.units import event, say

from .cases import DatabaseCase
from .standbys import StandbyCase, later


class Seen:
    """What a store says of its history."""

    def __init__(self, store: PostgresStore) -> None:
        self.store = store
        self.partings = 0
        store.on_parted(self.note)

    def note(self) -> None:
        self.partings += 1


async def write(store: PostgresStore, *names: str) -> list[str]:
    return [await store.commit(say(event(name, "ada"))) for name in names]


async def works(store: PostgresStore) -> None:
    """Returns once reads and writes go on."""
    while True:
        try:
            await store.read_after(0, 1)
            await store.commit(say())
        except Refusal:
            await later(0.05)
        else:
            return


async def located(store: PostgresStore, cursors: list[str]) -> list[int | None]:
    await store.retention_floors()  # as whoever resumes reads them first
    return [await store.locate(cursor) for cursor in cursors]


class BackupTests(DatabaseCase):
    """pg_dump and pg_restore as docs/instances.md has them."""

    async def asyncSetUp(self) -> None:
        self.stores = [await self.make_store() for _ in range(2)]
        self.seen = [Seen(store) for store in self.stores]

    def run_program(self, program: str, *options: str) -> None:
        command = [str(postgresql_bin() / program), *options]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PGOPTIONS": ""})

    def dump(self) -> Path:
        file = Path(self.mktemp())
        self.run_program("pg_dump", "--format=custom", f"--file={file}", self.conninfo)
        return file

    def restore(self, file: Path) -> None:
        options = ("--clean", "--if-exists", "--single-transaction", f"--dbname={self.conninfo}")
        self.run_program("pg_restore", *options, str(file))

    def terms(self) -> int:
        with psycopg.connect(self.conninfo) as other:
            ((count,),) = other.execute("SELECT count(*) FROM terms")
        return int(count)

    async def test_reads_that_waited_for_a_restore_are_made_again(self) -> None:
        """Their snapshots are older than the tables that it made, which are empty to them."""
        await self.asyncSetUp()
        store = self.stores[0]
        (cursor,) = await write(store, "e1")
        tables = ("heads", "events", "terms", "floors")
        with psycopg.connect(self.conninfo) as restoring:
            for table in tables:
                restoring.execute(f"CREATE TEMPORARY TABLE {table}_kept AS TABLE {table}".encode())
                restoring.execute(f"TRUNCATE {table}".encode())
                restoring.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {table}_kept".encode())
            reads: list[Deferred[Any]] = [
                ensureDeferred(store.read_after(0, 10)),
                ensureDeferred(store.locate(cursor)),
                ensureDeferred(store.retention_floors()),
            ]
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            with psycopg.connect(self.conninfo, autocommit=True) as other:
                while other.execute(waiting.encode()).fetchone() == (0,):
                    await later(0.01)
        entries, position, floors = [await read for read in reads]
        self.assertEqual([entry.event.id for entry in entries], ["e1"])
        self.assertEqual(position, 1)
        self.assertNotEqual(floors, {})
        self.assertEqual(self.seen[0].partings, 0)

    async def test_every_instance_notices_with_its_next_read_and_one_of_them_begins_a_term(self) -> None:
        await self.asyncSetUp()
        here, there = self.stores
        kept = await write(here, "kept")
        before = self.terms()
        file = self.dump()
        lost = await write(here, "lost 1", "lost 2") + await write(there, "lost 3")
        self.assertEqual(await located(there, kept + lost), [1, 2, 3, 4])
        self.restore(file)
        for store in self.stores:  # nobody has written since
            self.assertEqual(await located(store, kept + lost), [1, None, None, None])
            self.assertEqual(store.newest, 1)
        self.assertEqual([each.partings for each in self.seen], [1, 1])
        self.assertEqual(self.terms(), before + 1)
        other = await write(there, "other")
        self.assertEqual(await located(here, kept + lost + other), [1, None, None, None, 2])
        self.assertEqual([each.partings for each in self.seen], [1, 1])

    async def test_one_that_was_written_on_beyond_the_old_end_before_anybody_looked(self) -> None:
        """The same positions, other events, by an instance that knew nothing of those that were lost."""
        await self.asyncSetUp()
        here, there = self.stores
        kept = await write(here, "kept")
        file = self.dump()
        lost = await write(here, *[f"lost {n}" for n in range(5)])
        await located(there, lost)
        self.restore(file)
        stranger = await self.make_store()
        other = await write(stranger, *[f"other {n}" for n in range(9)])
        before = self.terms()
        for store in self.stores:
            self.assertEqual(await located(store, kept + lost), [1, *[None] * 5])
            self.assertEqual(await located(store, other), list(range(2, 11)))
        self.assertEqual([each.partings for each in self.seen], [1, 1])
        self.assertEqual(self.terms(), before)  # the stranger's is where they part

    async def test_the_first_who_writes_notices_before_that(self) -> None:
        await self.asyncSetUp()
        here, there = self.stores
        file = self.dump()
        (lost,) = await write(here, "lost")
        self.restore(file)
        (other,) = await write(here, "other")
        self.assertNotEqual(other, lost)
        self.assertEqual(await located(there, [lost, other]), [None, 1])
        self.assertEqual(self.seen[0].partings, 1)

    async def test_rows_that_went_back_in_place(self) -> None:
        """As a snapshot of the disk does it: in the same copy, so the marks alone can tell."""
        await self.asyncSetUp()
        here, there = self.stores
        kept = await write(here, "kept")
        lost = await write(here, "lost 1", "lost 2")
        await located(there, lost)
        with psycopg.connect(self.conninfo) as other:
            other.execute("DELETE FROM events WHERE position > 1")
            other.execute("DELETE FROM heads WHERE position > 1")
        other_cursors = await write(here, "other 1", "other 2", "other 3")
        for store in self.stores:
            self.assertEqual(await located(store, kept + lost), [1, None, None])
            self.assertEqual(await located(store, other_cursors), [2, 3, 4])
        self.assertEqual([each.partings for each in self.seen], [1, 1])

    async def test_a_term_that_was_lost_too_is_learnt_again(self) -> None:
        await self.asyncSetUp()
        here, there = self.stores
        file = self.dump()
        late = await self.make_store()  # its term is not in the backup
        lost = await write(late, "lost")
        self.assertEqual(await located(here, lost), [1])
        self.restore(file)
        (other,) = await write(late, "other")
        for store in (here, there, late):
            self.assertEqual(await located(store, [*lost, other]), [None, 1])
            self.assertEqual(store.cursor_of(1), other)


class PromotionTests(StandbyCase):
    async def both(self) -> tuple[Any, list[PostgresStore], list[Seen]]:
        proxy, conninfo = await self.proxied()
        stores = [await self.make_store(conninfo) for _ in range(2)]
        return proxy, stores, [Seen(store) for store in stores]

    async def fail_over(self, proxy: Any, stores: list[PostgresStore]) -> None:
        self.server.kill()
        self.promote()
        proxy.move(self.standby.port)
        proxy.cut()
        for store in stores:
            await works(store)

    async def test_a_standby_that_lacks_nothing_ends_nothing(self) -> None:
        proxy, stores, seen = await self.both()
        cursors = await write(stores[0], "one", "two") + await write(stores[1], "three")
        await self.fail_over(proxy, stores)
        for store in stores:
            self.assertEqual(await located(store, cursors), [1, 2, 3])
        self.assertEqual([each.partings for each in seen], [0, 0])
        (later_one,) = await write(stores[0], "four")
        self.assertNotEqual(later_one.partition(".")[0], cursors[-1].partition(".")[0])

    async def test_what_an_asynchronous_one_lacks_is_told_to_all(self) -> None:
        """Also by the one that had not seen what was lost, and is the first to write."""
        self.wait_for_none()
        proxy, stores, seen = await self.both()
        kept = await write(stores[0], "kept")
        await self.received()
        self.standby.restart(is_cut_off=True)
        lost = await write(stores[0], "lost 1", "lost 2")
        await self.fail_over(proxy, stores[1:])
        other = await write(stores[1], "other 1", "other 2", "other 3")
        await works(stores[0])
        for store in stores:
            self.assertEqual(await located(store, kept + lost), [1, None, None])
            self.assertEqual(await located(store, other), [2, 3, 4])
        self.assertEqual(seen[0].partings, 1)

    async def test_reads_follow_when_the_former_primary_still_answers(self) -> None:
        """The connection that writes was lost, and made anew where the name leads by now; those that read were not."""
        proxy, conninfo = await self.proxied()
        store = await self.make_store(conninfo)
        await write(store, "one")
        self.promote()
        proxy.move(self.standby.port)
        self.server.ask(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'idle'"
        )
        await works(store)
        (cursor,) = await write(store, "two")
        while True:
            try:
                self.assertEqual([entry.cursor for entry in await store.read_after(1, 9)], [cursor])
            except Refusal:
                await later(0.05)
            else:
                break

    async def received(self) -> None:
        reached = self.server.ask("SELECT pg_current_wal_insert_lsn()")
        while not self.standby.ask(f"SELECT pg_last_wal_receive_lsn() >= '{reached}'"):
            await later(0.02)
