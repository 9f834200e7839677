"""Batches and the faults of the engine under them, without threads."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Sequence
from unittest import SkipTest

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Step, Unit
from multiproto.storage.cursors import Term, Terms
from multiproto.storage.jobs import MAX_BATCH, Job, outcome_unknown
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.connection import connect, fetch_all
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.sqlite.writer import (
    MAX_TRANSACTION_TIME,
    MIN_BATCH,
    TRANSACTION_TIME,
    SqliteWriter,
    TransactionResult,
)
from multiproto.storage.statements import load_statements, sql_directory
from tests.disks import FILLER, Disk, NoDisk

from ..units import GONE, add_message, add_session, add_user, amend_user, at, event, step


class GroupCommitTests(SynchronousTestCase):
    def setUp(self) -> None:
        sql = sql_directory("sqlite")
        self.statements = load_statements(sql / "queries")
        self.connection = self.open(Path(self.mktemp()))
        self.settled: list[tuple[Sequence[Job[Unit]], TransactionResult]] = []
        self.group = SqliteWriter(
            self.connection, self.statements, Terms((Term("t", 1),)), lambda *told: self.settled.append(told)
        )
        self.addCleanup(self.group.close)

    def open(self, path: Path) -> sqlite3.Connection:
        connection = connect(path, 1.0)
        migrate(connection, load_migrations(sql_directory("sqlite")), self.statements, 0.0)
        return connection

    def logged(self) -> list[tuple[Any, ...]]:
        return self.connection.execute("SELECT position, id FROM events ORDER BY position").fetchall()

    def intact(self) -> bool:
        return self.connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def test_each_commit_is_synced(self) -> None:
        """FULL is 2; NORMAL would sync only now and then (docs/guarantees.md#g1-durable-acknowledgement)."""
        settings = [
            self.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous")
        ]
        self.assertEqual(settings, ["wal", 2])

    def test_a_transaction_has_as_many_units_as_were_done_in_its_time(self) -> None:
        """Or in that of the last sync, which many share where the disk is slow."""
        quarter = TRANSACTION_TIME / 4
        took = (
            (0.0, 0.0),
            (quarter, TRANSACTION_TIME),
            (quarter, 2 * TRANSACTION_TIME),
            (quarter, 1.0),
            (1.0, 0.0),
        )
        ticks = iter([tick for work, sync in took for tick in (0.0, work, work + sync)])
        group = SqliteWriter(
            self.connection,
            self.statements,
            Terms((Term("t", 1),)),
            lambda *told: None,
            timer=lambda: next(ticks),
        )
        sizes = [group.max_jobs]
        for number in range(len(took)):
            group.commit([Unit((), (event(f"{number}.{n}", "x"),)) for n in range(10)])
            sizes.append(group.max_jobs)
        longest = 40 * int(MAX_TRANSACTION_TIME / TRANSACTION_TIME)
        self.assertEqual(sizes, [MAX_BATCH, MAX_BATCH, 40, 80, longest, MIN_BATCH])

    def test_each_unit_of_a_batch_has_its_own_outcome(self) -> None:
        batch = self.group.commit(
            [
                add_user("ada", 0, event("e1", "ada"), event("e2", "ada")),
                amend_user("nobody", 1),
                amend_user("ada", 1),
                add_user("bob", 0, event("e3", "bob")),
            ]
        )
        self.assertEqual((batch.outcomes, batch.error), (("t.2", GONE, "t.2", "t.3"), None))
        self.assertEqual(batch.appended, 3)
        self.assertEqual(self.logged(), [(1, "e1"), (2, "e2"), (3, "e3")])

    def test_positions_are_dense_over_batches_and_failures(self) -> None:
        for n in range(3):
            self.group.commit(
                [
                    add_user(f"a{n}", 0, event(f"e{n}", "x")),
                    add_user("nobody", 0, event("e0", "x")),  # that event is there already, or in this batch
                    add_user(f"b{n}", 0, event(f"f{n}", "x")),
                ]
            )
        self.assertEqual(self.logged(), list(enumerate(["e0", "f0", "e1", "f1", "e2", "f2"], 1)))
        self.assertEqual(fetch_all(self.connection, self.statements["log_head"], {}), ({"position": 6},))

    def test_what_a_unit_says_wrongly_is_its_own_failure(self) -> None:
        """An unknown statement, a missing parameter, a value that is none, a wrong count nobody foresaw."""
        odd = [
            Unit((Step("no_such_statement", {}),)),
            Unit((Step("user_drop", {}),)),
            add_message("m", "ada", content=object()),  # type: ignore[arg-type]
            Unit((Step("user_drop", {"id": "nobody"}, expected_rows=1),)),
        ]
        batch = self.group.commit([add_user("ada"), *odd, add_user("bob")])
        kinds = [type(outcome) for outcome in batch.outcomes]
        self.assertEqual(kinds[1:3], [KeyError, sqlite3.ProgrammingError])
        self.assertEqual(str(batch.outcomes[4]), "user_drop affected 0 rows")
        self.assertEqual((batch.outcomes[0], batch.outcomes[-1]), ("t.0", "t.0"))
        self.assertEqual(fetch_all(self.connection, self.statements["users_count"], {}), ({"total": 2},))

    def test_a_full_disk_refuses_the_batch_and_keeps_everything_before_it(self) -> None:
        self.group.commit([add_user("ada", 0, event("e1", "ada"))])
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        self.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        small = [add_user(f"u{n}", 0, event(f"u{n}", "x")) for n in range(3)]
        big = add_message("m", "ada", 1, event("e2", "m"), content="x" * 100_000)
        batch = self.group.commit([*small, big, *small])
        self.assertEqual(batch.outcomes, (Unavailable("The database can't be written to"),) * 7)
        self.assertEqual((batch.appended, str(batch.error)), (0, "database or disk is full"))
        self.assertEqual(self.logged(), [(1, "e1")])
        self.assertTrue(self.intact())
        self.connection.execute(f"PRAGMA max_page_count = {pages + 1000}")
        self.assertEqual(self.group.commit([big]).outcomes, ("t.2",))

    def test_a_full_disk_is_the_same_for_statements_that_are_undone_alone(self) -> None:
        """SQLite undoes only the statement where that may change several rows, as an INSERT of a SELECT may."""
        text = "x" * 100_000
        session = add_session("s", "ada")
        (added,), (amended,) = session.steps, amend_user("ada", 1).steps
        self.group.commit([add_user("ada"), session])
        credential = {"id": "c", "user_id": "ada", "name": text, "hash": "h", "grants": "[]", "at": at(0)}
        credential |= {"expires_at": None, "most": 100}
        units = {
            "session_add": Unit((evolve(added, params={**added.params, "id": "t", "client": text}),)),
            "refresh_add": step("refresh_add", hash=text, session_id="s", parent=None, at=at(0)),
            "credential_add": Unit((Step("credential_add", credential, expected_rows=1),)),
            "network_seen": step("network_seen", user_id="ada", network=text, at=at(0)),
            "user_amend": Unit((evolve(amended, params={**amended.params, "name": text}),)),
            "session_used": step("session_used", id="s", at=at(1), now=at(1), address="a", client=text),
            "log_append": Unit((), (event("e1", "ada", content=text),)),
        }
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        for name, unit in units.items():
            self.connection.execute(f"PRAGMA max_page_count = {pages + 2}")
            batch = self.group.commit([add_user("bob"), unit])
            self.assertEqual(
                batch.outcomes, (Unavailable("The database can't be written to"),) * 2, (name, batch)
            )
            self.assertEqual(str(batch.error), "database or disk is full", name)
            self.connection.execute(f"PRAGMA max_page_count = {pages + 10_000}")
            (outcome,) = self.group.commit([unit]).outcomes
            self.assertIsInstance(outcome, str, name)
            (pages,) = self.connection.execute("PRAGMA page_count").fetchone()

    def test_a_disk_that_is_full_at_the_commit_is_known_to_have_kept_nothing(self) -> None:
        """The journal is written then, so that small units meet the full disk there."""
        try:
            disk = Disk.mount(megabytes=4)
        except NoDisk as why:
            raise SkipTest(str(why)) from None
        self.addCleanup(disk.unmount)
        connection = self.open(disk.path / "database")
        self.addCleanup(connection.close)
        group = SqliteWriter(connection, self.statements, Terms((Term("t", 1),)), lambda *ended: None)
        self.assertEqual(group.commit([add_user("ada", 0, event("e1", "ada"))]).outcomes, ("t.1",))
        disk.fill()
        batch = group.commit([add_user("bob", 0, event("e2", "bob"))])
        self.assertEqual(batch.outcomes, (Unavailable("The database can't be written to"),))
        self.assertEqual((batch.appended, str(batch.error)), (0, "database or disk is full"))
        crashed = Path(self.mktemp())
        shutil.copytree(disk.path, crashed, ignore=shutil.ignore_patterns(FILLER, "*-shm"))
        for there in (disk.path, crashed):  # as a reader sees it, and as it would be after a crash
            with closing(sqlite3.connect(there / "database")) as reader:
                self.assertEqual(reader.execute("SELECT id FROM events").fetchall(), [("e1",)])
        disk.free()
        self.assertEqual(group.commit([add_user("bob", 0, event("e2", "bob"))]).outcomes, ("t.2",))

    def test_a_commit_that_fails_is_an_unknown_outcome_for_all_and_the_next_goes_on(self) -> None:
        """SQLite forbids the COMMIT here; an error of the disk looks the same from above."""

        def forbid(action: int, what: str | None, *rest: object) -> int:
            commits = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
            return sqlite3.SQLITE_DENY if commits else sqlite3.SQLITE_OK

        self.connection.set_authorizer(forbid)
        batch = self.group.commit([add_user("ada", 0, event("e1", "ada")), add_user("bob")])
        self.assertEqual(batch.outcomes, (outcome_unknown(),) * 2)
        self.connection.set_authorizer(None)
        self.assertEqual(self.logged(), [])
        self.assertEqual(self.group.commit([add_user("ada", 0, event("e1", "ada"))]).outcomes, ("t.1",))

    def test_a_bug_in_the_writer_does_not_end_its_thread(self) -> None:
        jobs = [Job("write", add_user("ada"), 0.0)]
        self.patch(SqliteWriter, "commit", lambda group, units: 1 / 0)
        self.group.run_jobs(jobs)
        ((told, batch),) = self.settled
        self.assertEqual((told, type(batch.outcomes[0])), (jobs, ZeroDivisionError))
