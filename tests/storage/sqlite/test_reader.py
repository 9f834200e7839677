"""Reading while others write, without threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

from ..units import add_user, event


class ReaderTests(SynchronousTestCase):
    def test_what_is_committed_during_a_read_is_seen_by_the_next(self) -> None:
        sql, path, terms = sql_directory("sqlite"), Path(self.mktemp()), Terms((Term("t", 1),))
        statements = load_statements(sql / "queries")
        writing = connect(path, 1.0)
        migrate(writing, load_migrations(sql), statements, 0.0)
        group = SqliteWriter(writing, statements, terms, lambda *settled: None)
        answers: list[Any] = []
        reader = SqliteReader(
            connect_reader(path, 1.0),
            statements,
            terms,
            lambda job, outcome: answers.append(outcome),
            Clock(),
            1.0,
        )
        self.addCleanup(group.close)
        self.addCleanup(reader.close)

        def overtaken(reader: SqliteReader) -> object:
            before = reader.head_position()
            group.commit([add_user("ada", 0, event("e1", "ada"))])
            return before, reader.snapshot([Query("users_count")])

        jobs: list[Job[ReadWork]] = [
            Job("read", overtaken, 0.0),
            Job("read", SqliteReader.head_position, 0.0),
        ]
        reader.run_jobs(jobs)
        (before, snapshot), after = answers
        self.assertEqual((before, snapshot.results, snapshot.cursor), (0, (({"total": 0},),), "t.0"))
        self.assertEqual(after, 1)
