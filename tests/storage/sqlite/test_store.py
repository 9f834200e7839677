"""The embedded store: the contract of all stores, and what its threads and its file add to it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from multiproto.core.errors import DatabaseError, Refusal, TimedOut, Unavailable
from multiproto.core.transactions import Query, Step, Unit
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.jobs import QueueFull
from multiproto.storage.sqlite.store import DATABASE_FILE, SqliteStore

from ..contract import StoreContract
from ..units import add_message, add_user, amend_user, event, published, say, user_by_id


class StoreCase(TestCase):
    """A directory, and stores in it that end with the test."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.observed: list[tuple[str, str]] = []

    def new_store(self, **options: Any) -> SqliteStore:
        def observed(operation: str, status: str, seconds: float) -> None:
            self.assertGreaterEqual(seconds, 0)
            self.observed.append((operation, status))

        options = {"clock": reactor} | options
        store = SqliteStore(self.directory, reactor, on_job_completed=observed, **options)
        self.addCleanup(store.stopService)
        return store

    async def make_store(self, **options: Any) -> SqliteStore:
        store = self.new_store(**options)
        await store.startService()
        return store

    def other_program(self) -> sqlite3.Connection:
        """Somebody else with the file open, e.g. the `sqlite3` shell."""
        other = sqlite3.connect(self.directory / DATABASE_FILE, isolation_level=None)
        self.addCleanup(other.close)
        return other


async def refusal(answer: Deferred[Any]) -> Refusal:
    try:
        await answer
    except Refusal as refused:
        return refused
    raise AssertionError("was not refused")


class ContractTests(StoreContract, StoreCase):
    """All that `StoreContract` says, of SQLite."""

    def setUp(self) -> Deferred[None]:
        super().setUp()
        self.store = self.new_store()
        return self.store.startService()


class OpeningTests(StoreCase):
    """What may be wrong before anybody is served, in one line for the operator."""

    def test_the_directory_and_the_file_are_for_their_owner_only(self) -> None:
        self.new_store().open()
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        for path in self.directory.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)

    def test_a_second_process_is_told_which_directory_is_taken(self) -> None:
        self.new_store().open()
        with self.assertRaisesRegex(StoreUnusable, f"^data directory {self.directory} is in use by another"):
            self.new_store().open()

    def test_opening_twice_is_opening_once(self) -> None:
        store = self.new_store(read_threads=3)
        self.assertEqual(store.connections, 0)
        store.open()
        store.privilegedStartService()
        self.assertEqual(store.connections, 5)

    async def test_a_failed_start_says_why_and_leaves_the_directory_to_the_next(self) -> None:
        self.directory.mkdir()
        (self.directory / DATABASE_FILE).write_bytes(b"this is no database, and long enough to tell" * 50)
        with self.assertRaisesRegex(StoreUnusable, "can't be used: file is not a database"):
            await self.make_store()
        (self.directory / DATABASE_FILE).unlink()
        await self.make_store()

    def test_a_file_that_another_program_has_locked(self) -> None:
        self.directory.mkdir()
        other = self.other_program()
        other.execute("BEGIN EXCLUSIVE")
        with self.assertRaisesRegex(StoreUnusable, "can't be used: database is locked"):
            self.new_store(lock_timeout=0.01).open()

    def test_an_sqlite_without_strict_tables_is_too_old(self) -> None:
        self.patch(sqlite3, "sqlite_version_info", (3, 34, 1))
        with self.assertRaisesRegex(StoreUnusable, "too old"):
            self.new_store().open()

    async def test_what_was_committed_is_there_after_a_restart_under_the_same_cursors(self) -> None:
        terms = iter(["first", "second", "third"]).__next__
        store = await self.make_store(new_term=terms)
        self.assertEqual((await store.read()).cursor, "first.0")
        await store.commit(add_user("ada", 0, event("e1", "ada")))
        await store.stopService()
        store = await self.make_store(new_term=terms)
        snapshot = await store.read(user_by_id("ada"))
        self.assertEqual((len(snapshot.results[0]), snapshot.cursor), (1, "first.1"))
        self.assertEqual(await store.commit(add_user("bob", 0, event("e2", "bob"))), "second.2")
        self.assertEqual([entry.cursor for entry in await store.read_after(0, 9)], ["first.1", "second.2"])

    async def test_a_restored_backup_goes_on_in_another_term(self) -> None:
        store = await self.make_store()
        before = await store.commit(add_user("ada", 0, event("e1", "ada")))
        await store.stopService()
        backup = (self.directory / DATABASE_FILE).read_bytes()
        store = await self.make_store()
        lost = await store.commit(add_user("bob", 0, event("e2", "bob")))
        await store.stopService()
        (self.directory / DATABASE_FILE).write_bytes(backup)
        store = await self.make_store()
        now = await store.commit(add_user("cat", 0, event("e3", "cat")))
        self.assertEqual([entry.cursor for entry in await store.read_after(0, 9)], [before, now])
        located = [await store.locate(cursor) for cursor in (before, lost, now)]
        self.assertEqual(located, [1, None, 2])


class LifeTests(StoreCase):
    async def test_before_the_start_and_after_the_stop_everything_is_unavailable(self) -> None:
        store = self.new_store()
        closed = Unavailable("The database is not open")
        self.assertEqual(await refusal(store.read()), closed)
        self.assertEqual(store.waiting, {})
        self.assertEqual(await refusal(store.locate("t.0")), closed)
        with self.assertRaises(Unavailable):
            store.cursor_of(0)
        await store.startService()
        await store.stopService()
        self.assertEqual(await refusal(store.commit(add_user("ada"))), closed)
        self.assertEqual(self.observed, [("read", "error"), ("read", "error"), ("write", "error")])

    async def test_stopping_answers_all_that_was_asked_and_folds_the_journal_into_the_file(self) -> None:
        store = await self.make_store(max_batch=7)
        asked = gatherResults([store.commit(add_user(f"u{n}")) for n in range(50)])
        stopped = store.stopService()
        self.assertEqual(
            await refusal(store.commit(add_user("late"))), Unavailable("The database is not open")
        )
        await stopped
        self.assertEqual(len(self.successResultOf(asked)), 50)
        self.assertEqual(
            sorted(path.name for path in self.directory.iterdir()), [DATABASE_FILE, "multiproto.lock"]
        )

    async def test_who_follows_the_log_is_woken_once_it_has_grown(self) -> None:
        store = await self.make_store()
        woken: list[bool] = []
        store.on_commit(lambda: woken.append(True))
        await store.commit(add_user("ada"))
        self.assertEqual(woken, [])
        await store.commit(add_message("m", "ada", 0, event("e", "m")))
        await store.head()  # comes behind the waker
        self.assertEqual(woken, [True])

    async def test_each_read_and_unit_is_observed(self) -> None:
        store = await self.make_store()
        await store.commit(add_user("ada"))
        await refusal(store.commit(amend_user("ada", 9)))
        await refusal(store.commit(Unit((Step("no_such_statement", {}),))))
        await store.read()
        self.assertEqual(
            self.observed,
            [("write", "success"), ("write", "refused"), ("write", "error"), ("read", "success")],
        )
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    async def test_to_locate_a_cursor_the_database_is_asked_only_about_the_future(self) -> None:
        """Ten thousand may resume at once; what a reader has seen may be ahead of what was answered."""
        store = await self.make_store(new_term=lambda: "t")
        cursor = await store.commit(say(published("e", "a")))
        del self.observed[:]
        self.assertEqual(
            [await store.locate(text) for text in (cursor, "t.0", "u.1", "")], [1, 0, None, None]
        )
        self.assertEqual(self.observed, [])
        self.assertEqual(await store.locate("t.2"), None)
        store._newest = 0
        self.assertEqual(await store.locate(cursor), 1)
        self.assertEqual(self.observed, [("read", "success")] * 2)

    async def test_the_namespaces_given_are_kept_from_then_on(self) -> None:
        store = await self.make_store(namespaces=["a"])
        await store.commit(say(published("e", "a")))
        await store.stopService()
        store = await self.make_store(namespaces=["a", "b"])
        self.assertEqual(await store.retention_floors(), {"a": 0, "b": 1})

    async def test_a_reader_cannot_write(self) -> None:
        store = await self.make_store()
        await store.commit(add_user("ada"))
        drop = store.read(Query("user_drop", {"id": "ada"}))
        self.assertEqual(await refusal(drop), DatabaseError("Database error"))
        self.assertEqual(len((await store.read(user_by_id("ada"))).results[0]), 1)
        self.assertEqual(len(self.flushLoggedErrors(sqlite3.OperationalError)), 1)


class OverloadTests(StoreCase):
    async def test_a_slow_disk_holds_up_writers_but_neither_the_reactor_nor_readers(self) -> None:
        """Another program's lock stands for the disk; meanwhile timers run and reads are answered."""
        store = await self.make_store(lock_timeout=30.0)
        await store.commit(add_user("ada"))
        other = self.other_program()
        other.execute("BEGIN IMMEDIATE")
        written = store.commit(add_user("bob"))
        self.assertEqual(len((await store.read(user_by_id("ada"))).results[0]), 1)
        await deferLater(reactor, 0.02)
        self.assertNoResult(written)
        other.execute("ROLLBACK")
        await written

    async def test_one_more_than_may_wait_is_refused_at_once(self) -> None:
        store = await self.make_store(max_waiting=2, max_batch=1, lock_timeout=30.0)
        await store.commit(add_user("ada"))
        other = self.other_program()
        other.execute("BEGIN IMMEDIATE")
        accepted = [store.commit(add_user("b"))]
        while store.waiting["write"]:  # until the writer has taken it
            await deferLater(reactor, 0)
        accepted += [store.commit(add_user("c")), store.commit(add_user("d"))]
        self.assertEqual(store.waiting, {"read": 0, "write": 2})
        self.assertEqual(
            self.failureResultOf(store.commit(add_user("e"))).value,
            QueueFull("The database writer is overloaded"),
        )
        other.execute("ROLLBACK")
        await gatherResults(accepted)
        rows = (await store.read(Query("users_page", {"limit": 9, "offset": 0, "bound": 2**63 - 1}))).results[
            0
        ]
        self.assertEqual(sorted(row["id"] for row in rows), ["ada", "b", "c", "d"])

    async def test_a_locked_file_refuses_the_batch_and_the_writer_goes_on(self) -> None:
        store = await self.make_store(lock_timeout=0.01)
        other = self.other_program()
        other.execute("BEGIN IMMEDIATE")
        self.assertEqual(
            await refusal(store.commit(add_user("ada"))), Unavailable("The database can't be written to")
        )
        other.execute("ROLLBACK")
        await store.commit(add_user("ada"))

    async def test_a_read_that_takes_too_long_is_broken_off_and_its_thread_goes_on(self) -> None:
        class Hurried(Clock):
            """Each look at it takes a second."""

            def seconds(self) -> float:
                self.rightNow += 1.0
                return self.rightNow

        store = await self.make_store(clock=Hurried(), read_timeout=4.0, read_threads=1)
        await store.commit(add_user("ada"))
        for n in range(2000):
            store.commit(add_message(f"m{n}", "ada", n))
        await store.commit(add_user("bob"))
        counted = Query("messages_count_by_user", {"viewer": "bob", "user_id": "ada"})
        self.assertEqual(await refusal(store.read(*[counted] * 50)), TimedOut("The database took too long"))
        self.assertEqual((await store.head())[0], 0)

    async def test_an_asker_who_gave_up_disturbs_nobody(self) -> None:
        store = await self.make_store()
        given_up = store.commit(add_user("ada"))
        given_up.addErrback(lambda failure: None)
        given_up.cancel()
        await store.commit(add_user("bob"))
        self.assertEqual((await store.read(Query("users_count"))).results[0], ({"total": 2},))
