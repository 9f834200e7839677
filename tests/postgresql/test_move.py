"""From one process with its file to many on PostgreSQL: nobody's tokens, cursors or keys are lost."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from multiproto.core.transactions import Query
from multiproto.storage.copy import copy_to_postgresql, count_rows
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.sqlite.checksums import checksum_columns
from multiproto.storage.sqlite.store import DATABASE_FILE, SqliteStore

from ..storage.units import (
    add_message,
    add_session,
    add_user,
    at,
    claim,
    event,
    published,
    say,
    step,
    withdraw,
)
from .cases import DatabaseCase, refusal


class MoveTests(DatabaseCase):
    async def used(self) -> tuple[Path, list[str]]:
        """The directory of an embedded store that was started twice, and the cursors that it gave."""
        directory, cursors = Path(self.mktemp()), []
        for turn in ("a", "b"):
            store = SqliteStore(directory, reactor, reactor, self._observe)
            await store.startService()
            units = [
                add_user(
                    f"ann-{turn}", 1, event(f"e1{turn}", f"ann-{turn}", "user.created", name="Ännchen\n\t\\N")
                ),
                add_session(f"s-{turn}", f"ann-{turn}"),
                step("network_seen", user_id=f"ann-{turn}", network="2001:db8::/64", at=at(1)),
                add_message(
                    f"m-{turn}", f"ann-{turn}", 2, event(f"e2{turn}", f"m-{turn}", text="\\. \u2028 🦊")
                ),
                claim(f"ann-{turn}", "key"),
                withdraw(f"m-{turn}", event(f"e3{turn}", "", "message.deleted")),
                say(published(f"e4{turn}", "room.1", 4)),
            ]
            for unit in units:
                cursors.append(await store.commit(unit))
            await store.stopService()
        return directory, cursors

    def rows(self, directory: Path, table: str) -> tuple[list[Any], list[Any]]:
        """Of both stores, times as text."""
        with sqlite3.connect(directory / DATABASE_FILE) as source, psycopg.connect(self.conninfo) as target:
            names = [name for _, name, *_ in source.execute(f"PRAGMA table_info({table})")]
            columns = [name for name in names if name not in checksum_columns(table)]
            here = source.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2")
            target.execute("SET TIME ZONE 'UTC'")
            there = target.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()  # type: ignore[call-overload]
            return here.fetchall(), [tuple(map(_text, row)) for row in there]

    async def test_every_row_is_as_it_was(self) -> None:
        directory, _ = await self.used()
        told: list[str] = []
        moved = await deferToThread(copy_to_postgresql, directory, self.conninfo, 9.0, told.append)
        self.assertEqual((moved["users"], moved["events"], moved["terms"], moved["head"]), (2, 8, 2, 1))
        self.assertEqual(told[0], "users: 2")
        for table in moved.keys() - {"head"}:
            here, there = self.rows(directory, table)
            self.assertEqual(here, there, table)

    async def test_cursors_are_good_and_the_log_goes_on(self) -> None:
        directory, cursors = await self.used()
        await deferToThread(copy_to_postgresql, directory, self.conninfo, 9.0, lambda line: None)
        store = await self.make_store()
        found = [await store.locate(cursor) for cursor in cursors]
        self.assertEqual(found, sorted(found))  # type: ignore[type-var]
        self.assertNotIn(None, found)
        later = await store.commit(say(published("e5", "room.1", 5)))
        self.assertEqual([entry.position for entry in await store.read_after(0, 100)], list(range(1, 10)))
        self.assertEqual(await store.locate(later), 9)
        live = {"id": "s-a", "user_id": "ann-a", "now": at(3)}
        self.assertEqual(len((await store.read(Query("session_live", live))).results[0]), 1)
        self.assertEqual(str(await refusal(store.commit(claim("ann-a", "key")))), "gone")  # it is taken

    async def test_one_that_was_used_already_stays_as_it_is(self) -> None:
        directory, _ = await self.used()
        store = await self.make_store()
        await store.commit(add_user("bob"))
        await self.refused(directory, self.conninfo, "has been used already")
        self.assertEqual((await store.read(Query("users_count"))).results[0][0]["total"], 1)

    async def test_of_one_that_is_damaged_nothing_is_moved(self) -> None:
        directory, _ = await self.used()
        file = directory / DATABASE_FILE
        content = bytearray(file.read_bytes())
        content[content.index(b"ANN-A@x.org") + 1] ^= 1
        file.write_bytes(content)
        await self.refused(directory, self.conninfo, "a row of users is damaged")
        store = await self.make_store()
        self.assertEqual((await store.read(Query("users_count"))).results[0][0]["total"], 0)

    async def test_a_server_that_runs_must_be_stopped_first(self) -> None:
        directory, _ = await self.used()
        store = SqliteStore(directory, reactor, reactor, self._observe)
        await store.startService()
        self.addCleanup(store.stopService)
        await self.refused(directory, self.conninfo, "is in use by another multiproto")

    async def test_a_dry_run_counts_the_rows_and_moves_none(self) -> None:
        directory, _ = await self.used()
        before = (directory / DATABASE_FILE).read_bytes()
        counts = await deferToThread(count_rows, directory)
        self.assertEqual((directory / DATABASE_FILE).read_bytes(), before)
        moved = await deferToThread(copy_to_postgresql, directory, self.conninfo, 9.0, lambda line: None)
        self.assertEqual(counts, moved)

    async def test_a_directory_without_a_database(self) -> None:
        directory = Path(self.mktemp())
        await self.refused(directory, self.conninfo, "there is no multiproto.db in")
        self.assertFalse(directory.exists())

    async def test_a_wrong_password(self) -> None:
        directory, _ = await self.used()
        await self.refused(directory, self.conninfo.replace(self.server.password, "wr0ng"), "password")

    async def refused(self, directory: Path, conninfo: str, why: str) -> None:
        with self.assertRaises(StoreUnusable) as caught:
            await deferToThread(copy_to_postgresql, directory, conninfo, 9.0, lambda line: None)
        self.assertIn(why, str(caught.exception))
        self.assertNotIn("wr0ng", str(caught.exception))


def _text(value: Any) -> Any:
    """A time as the embedded store has it."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if hasattr(value, "strftime") else value
