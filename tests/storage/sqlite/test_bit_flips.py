"""Single bits that flip in the file: whatever is read is as it was written, or refused."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

from attrs import define, field
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.transactions import Query
from multiproto.storage.cursors import Term, Terms
from multiproto.storage.jobs import Job
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.connection import connect, connect_reader
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.reader import ReadWork, SqliteReader
from multiproto.storage.sqlite.writer import SqliteWriter
from multiproto.storage.statements import load_statements, sql_directory
from tests.examples import examples

from ..contract import BEHIND_ALL
from ..units import add_message, add_user, event

FLIPS, SEED = examples(300), 42
COUNT = 100  # users, messages and events, each
TERMS = Terms((Term("t", 1),))
STATEMENTS = load_statements(sql_directory("sqlite") / "queries")

Seen = object  # what a read gave


def _query(name: str, **params: object) -> Callable[[SqliteReader], Seen]:
    query = Query(name, {"limit": COUNT, "offset": 0, "bound": BEHIND_ALL} | params)
    return lambda reader: reader.snapshot([query]).results


READS: list[Callable[[SqliteReader], Seen]] = [
    _query("users_page"),
    _query("messages_page", viewer="u1"),
    _query("messages_page_by_user", viewer="u1", user_id="u1"),
    _query("messages_page_by_channel", viewer="u1", channel_id="hall"),
    lambda reader: reader.read_after(0, COUNT),
    lambda reader: reader.read_page("messages", 0, COUNT),
    *(_query("user_by_id", id=f"u{n}") for n in range(COUNT)),
    *(_query("message_by_id", id=f"m{n}") for n in range(COUNT)),
]


@define
class Tally:
    changed: list[int] = field(factory=list)  # bits by which something else was read, and nothing refused
    refused: int = 0  # bits by which some read was


class BitFlipTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        connection = connect(self.file, 1.0)
        migrate(connection, load_migrations(sql_directory("sqlite")), STATEMENTS, 0.0)
        writer = SqliteWriter(connection, STATEMENTS, TERMS, lambda *settled: None)
        units = [add_user(f"u{n}", n) for n in range(COUNT)]
        for n in range(COUNT):
            content = f"This is what was said in message {n}, by the user {n % 7}; and nothing else."
            told = event(f"e{n}", f"m{n}", text=content)
            units.append(add_message(f"m{n}", f"u{n % 7}", n, told, channel="hall", content=content))
        writer.commit(units)
        writer.close()
        self.content = self.file.read_bytes()
        self.sound = self.read_all()

    def read_all(self) -> list[Seen]:
        """What each of `READS` gives, or the exception that it ends with."""
        answers: list[Any] = []
        clock = Clock()
        try:
            connection = connect_reader(self.file, 1.0)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            return [error] * len(READS)
        reader = SqliteReader(
            connection, STATEMENTS, TERMS, lambda job, outcome: answers.append(outcome), clock, 1.0
        )
        with closing(reader):
            jobs: list[Job[ReadWork]] = [Job("read", read, 0.0) for read in READS]
            reader.run_jobs(jobs)
        return answers

    def is_integral(self) -> bool:
        """Whether SQLite finds nothing."""
        with closing(connect_reader(self.file, 1.0)) as connection:
            return connection.execute("PRAGMA integrity_check(1)").fetchall() == [("ok",)]

    def flip(self, bit: int) -> None:
        content = bytearray(self.content)
        content[bit // 8] ^= 1 << bit % 8
        self.file.write_bytes(content)

    def play(self, bits: list[int]) -> Tally:
        tally = Tally()
        for bit in bits:
            self.flip(bit)
            found = self.read_all()
            tally.refused += any(isinstance(each, Exception) for each in found)
            different = [
                each
                for each, sound in zip(found, self.sound)
                if not isinstance(each, Exception) and each != sound
            ]
            if different and self.is_integral():
                tally.changed.append(bit)
        return tally

    def test_what_sqlite_does_not_find_is_refused_or_changes_nothing(self) -> None:
        bits = random.Random(SEED).sample(range(8 * len(self.content)), FLIPS)
        tally = self.play(bits)
        self.assertEqual(tally.changed, [])
        self.assertGreater(tally.refused, FLIPS // 20)
