"""What a cursor stands for, whatever happened to the log since it was handed out."""

from __future__ import annotations

import sqlite3
from itertools import count
from pathlib import Path

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.cursors import Terms
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.connection import connect
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.reader import SqliteReader
from multiproto.storage.sqlite.writer import SqliteWriter, begin_term
from multiproto.storage.statements import load_statements, sql_directory
from tests.examples import examples

from .units import published, say

SQL = sql_directory("sqlite")
STATEMENTS = load_statements(SQL / "queries")
MIGRATIONS = load_migrations(SQL)

steps = st.lists(st.sampled_from(["open", "write", "write", "prune", "copy", "restore"]), max_size=30)


@define
class Copy:
    """A database, and the cursors that had been handed out when it was made."""

    database: sqlite3.Connection
    cursors: dict[str, int]


@define(eq=False, repr=False)
class History:
    """A log in memory, and what became of each cursor that its clients ever got."""

    database: sqlite3.Connection
    terms: Terms = field(init=False)
    good: dict[str, int] = field(factory=dict)
    lost: set[str] = field(factory=set)
    copies: list[Copy] = field(factory=list)
    numbers: count[int] = field(factory=count)

    def open(self) -> None:
        self.terms = begin_term(self.database, STATEMENTS, f"t{next(self.numbers)}", ["n"], 0.0)
        position, cursor = self.reader().head()
        self.good[cursor] = position

    def write(self) -> None:
        head = self.reader().head_position()
        group = SqliteWriter(self.database, STATEMENTS, self.terms, lambda *settled: None)
        units = [say(published(f"e{next(self.numbers)}", "a", namespace="n")) for _ in range(2)]
        for position, cursor in enumerate(group.commit(units).outcomes, head + 1):
            assert isinstance(cursor, str)
            self.good[cursor] = position

    def prune(self) -> None:
        self.database.execute(
            STATEMENTS["log_prune"], {"namespace": "n", "upto": self.reader().head_position()}
        )

    def copy(self) -> None:
        self.copies.append(Copy(duplicate(self.database), dict(self.good)))

    def restore(self) -> None:
        if self.copies:
            copy = self.copies[-1]
            self.database.close()
            self.database = duplicate(copy.database)
            self.lost |= self.good.keys() - copy.cursors.keys()
            self.good = dict(copy.cursors)
            self.open()

    def reader(self) -> SqliteReader:
        return SqliteReader(self.database, STATEMENTS, self.terms, lambda *answered: None, Clock(), 1.0)

    def close(self) -> None:
        for database in (self.database, *(copy.database for copy in self.copies)):
            database.close()


def duplicate(database: sqlite3.Connection) -> sqlite3.Connection:
    other = connect(Path(":memory:"), 1.0)
    database.backup(other)
    return other


class ResumingTests(SynchronousTestCase):
    @settings(deadline=None, max_examples=examples(200))
    @given(steps)
    def test_a_cursor_is_located_unless_a_backup_was_restored_from_before_it(self, taken: list[str]) -> None:
        """Even when the log has meanwhile grown past its position again."""
        history = History(duplicate(self.empty))
        try:
            history.open()
            for step in taken:
                getattr(history, step)()
                locate = history.reader().locate
                self.assertEqual({cursor: locate(cursor) for cursor in history.good}, history.good)
                self.assertEqual([cursor for cursor in history.lost if locate(cursor) is not None], [])
        finally:
            history.close()

    def setUp(self) -> None:
        self.empty = connect(Path(":memory:"), 1.0)
        self.addCleanup(self.empty.close)
        migrate(self.empty, MIGRATIONS, STATEMENTS, 0.0)


class FloorTests(SynchronousTestCase):
    """A namespace that was not kept for a while has a hole there."""

    def test_a_namespace_is_kept_from_the_head_on_and_one_given_up_is_forgotten(self) -> None:
        history = History(connect(Path(":memory:"), 1.0))
        self.addCleanup(history.close)
        migrate(history.database, MIGRATIONS, STATEMENTS, 0.0)
        told = []
        for namespaces in (["a", "b"], ["b"], ["b", "a", "a", "c"], [], ["b"]):
            history.terms = begin_term(history.database, STATEMENTS, str(len(told)), namespaces, 0.0)
            told.append(dict(history.reader().retention_floors()))
            history.write()
        self.assertEqual(told, [{"a": 0, "b": 0}, {"b": 0}, {"b": 0, "a": 4, "c": 4}, {}, {"b": 8}])

    def test_a_start_that_fails_begins_nothing(self) -> None:
        history = History(connect(Path(":memory:"), 1.0))
        self.addCleanup(history.close)
        migrate(history.database, MIGRATIONS, STATEMENTS, 0.0)
        begin_term(history.database, STATEMENTS, "first", ["a"], 0.0)
        history.database.execute(
            "CREATE TRIGGER t BEFORE INSERT ON floors BEGIN SELECT RAISE(FAIL, 'no'); END"
        )
        with self.assertRaisesRegex(sqlite3.IntegrityError, "no"):
            begin_term(history.database, STATEMENTS, "second", ["b"], 0.0)
        history.database.execute("DROP TRIGGER t")
        history.terms = begin_term(history.database, STATEMENTS, "third", ["a"], 0.0)
        self.assertEqual([term.id for term in history.terms.ordered], ["first", "third"])
        self.assertEqual(history.reader().retention_floors(), {"a": 0})
