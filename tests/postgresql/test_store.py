"""The shared store: the contract of all stores, and what comes of several instances on one database."""

from __future__ import annotations

import random
import re
from typing import Any

import psycopg
from attrs import evolve
from psycopg.conninfo import make_conninfo
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Step, Unit
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.migrations import load_migrations
from multiproto.storage.postgresql import heads
from multiproto.storage.statements import load_statements, sql_directory
from tests.storage.contract import StoreContract
from tests.storage.units import (
    GONE,
    TAKEN,
    add_message,
    add_session,
    add_user,
    amend_user,
    at,
    event,
    say,
    user_by_id,
)

from .cases import DatabaseCase, refusal


class ContractTests(StoreContract, DatabaseCase):
    """All that `StoreContract` says, of PostgreSQL."""

    def setUp(self) -> Deferred[None]:
        super().setUp()
        self.store = self.new_store()
        return self.store.startService()


class OpeningTests(DatabaseCase):
    """What may be wrong before anybody is served, in one line for the operator, without a secret."""

    def unusable(self, conninfo: str, **options: Any) -> str:
        with self.assertRaises(StoreUnusable) as caught:
            self.new_store(conninfo, **options).open()
        line = str(caught.exception)
        self.assertNotIn("\n", line)
        self.assertNotIn("s3cret", line)
        return line

    def test_a_wrong_password(self) -> None:
        line = self.unusable(make_conninfo(self.conninfo, password="s3cret"))
        self.assertRegex(line, "password authentication failed")

    def test_an_unreachable_host(self) -> None:
        line = self.unusable("postgresql://ada:s3cret@127.0.0.1:1/x")
        self.assertRegex(line, "PostgreSQL can't be used: .*refused")

    def test_an_unknown_database(self) -> None:
        self.assertRegex(self.unusable(make_conninfo(self.conninfo, dbname="nowhere")), "does not exist")

    def test_an_address_that_libpq_cannot_read(self) -> None:
        self.assertEqual(self.unusable("postgresql://ada:s3cret%zz@[::1/x"), "DATABASE_URL can't be read")

    def test_a_database_that_is_newer_than_this_version(self) -> None:
        self.new_store().open()
        with psycopg.connect(self.conninfo) as other:
            other.execute(
                "INSERT INTO migrations (number, name, checksum, applied_at) VALUES (99, '099_x.sql', 'y', now())"
            )
        self.assertRegex(self.unusable(self.conninfo), "newer than this version: it has had 099_x.sql")

    def test_a_database_in_another_encoding(self) -> None:
        conninfo = self.server.new_database("ENCODING 'LATIN1' TEMPLATE template0")
        self.addCleanup(self.server.drop, conninfo)
        self.assertRegex(self.unusable(conninfo), "must be in UTF8")

    async def test_of_many_that_start_together_one_migrates_and_the_others_wait(self) -> None:
        stores = [self.new_store() for _ in range(6)]
        await gatherResults([deferToThread(store.open) for store in stores])
        await gatherResults([store.startService() for store in stores])
        once = (len(load_migrations(sql_directory("postgresql"))),)
        with psycopg.connect(self.conninfo) as other:
            self.assertEqual(other.execute("SELECT count(*) FROM migrations").fetchone(), once)
            self.assertEqual(other.execute("SELECT count(*) FROM terms").fetchone(), (6,))

    async def test_what_was_committed_is_there_after_a_restart_under_the_same_cursors(self) -> None:
        terms = iter(["first", "second", "third"]).__next__
        store = await self.make_store(new_term=terms)
        self.assertEqual((await store.read()).cursor, "first.0")
        await store.commit(add_user("ada", 0, event("e1", "ada")))
        await store.stopService()
        self.assertEqual(store.connections, 0)
        store = await self.make_store(new_term=terms)
        snapshot = await store.read(user_by_id("ada"))
        self.assertEqual((len(snapshot.results[0]), snapshot.cursor), (1, "first.1"))
        self.assertEqual(await store.commit(add_user("bob", 0, event("e2", "bob"))), "second.2")
        self.assertEqual([entry.cursor for entry in await store.read_after(0, 9)], ["first.1", "second.2"])

    async def test_before_the_start_and_after_the_stop_everything_is_unavailable(self) -> None:
        store = self.new_store()
        self.assertIsInstance(await refusal(store.read()), Unavailable)
        await store.startService()
        await store.stopService()
        self.assertIsInstance(await refusal(store.commit(add_user("ada"))), Unavailable)

    async def test_a_stop_answers_all_that_was_asked_before(self) -> None:
        store = await self.make_store()
        asked = [store.commit(add_user(f"u{n}", n, event(f"e{n}", "u"))) for n in range(500)]
        await store.stopService()
        self.assertEqual(len(set(await gatherResults(asked))), 500)


class HeadsTests(DatabaseCase):
    """One row for each transaction."""

    async def test_an_open_snapshot_makes_no_later_transaction_read_more(self) -> None:
        """A dump, say: what changes under it leaves dead rows, which a head that is changed has all to itself."""
        store = await self.make_store()
        head = load_statements(sql_directory("postgresql") / "queries")["log_head"].replace(":known", "1")

        def pages_read() -> int:
            with psycopg.connect(self.conninfo) as other:
                ((plan,),) = other.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {head}".encode())
            return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])

        await store.commit(say(event("first", "ada")))
        with psycopg.connect(self.conninfo) as dump:
            dump.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            dump.execute("SELECT count(*) FROM events")
            before = pages_read()
            for turn in range(600):
                await store.commit(say(event(f"e{turn}", "ada")))
            self.assertLessEqual(pages_read(), before + 2)  # the index has another level, on each of two ways

    async def test_the_newest_are_kept(self) -> None:
        self.patch(heads, "HEADS_KEPT", 100)
        store = await self.make_store()

        def kept() -> list[int]:
            with psycopg.connect(self.conninfo) as other:
                return [number for (number,) in other.execute("SELECT number FROM heads ORDER BY number")]

        while kept()[-1] < 299:
            await store.commit(say(event(f"e{kept()[-1]}", "ada")))
        self.assertEqual(kept(), list(range(101, 300)))
        await store.commit(say(event("e300", "ada")))
        self.assertEqual(kept(), list(range(201, 301)))


class InstancesTests(DatabaseCase):
    """Several on one database."""

    async def test_a_commit_of_one_wakes_the_others_and_is_named_alike(self) -> None:
        here, there = await self.make_store(), await self.make_store()
        woken: Deferred[None] = Deferred()
        there.on_commit(lambda: None if woken.called else woken.callback(None))
        cursor = await here.commit(add_user("ada", 0, event("e1", "ada")))
        await woken  # nobody polls here
        ((entry,), located) = await there.read_after(0, 9), await there.locate(cursor)
        self.assertEqual((entry.cursor, located), (cursor, 1))

    async def test_a_commit_wakes_its_own_instance_once(self) -> None:
        """What PostgreSQL says of it comes on the same connection, before the next answer."""
        here, woken = await self.make_store(), []
        here.on_commit(lambda: woken.append(here.newest))
        for number in range(3):
            await here.commit(say(event(f"e{number}", "ada")))
        self.assertEqual(woken, [1, 2, 3])

    async def test_a_cursor_of_an_instance_that_started_later_is_located(self) -> None:
        here = await self.make_store()
        there = await self.make_store()
        cursor = await there.commit(say(event("e1", "ada")))
        self.assertEqual(await here.locate(cursor), 1)
        self.assertEqual(here.cursor_of(1), cursor)
        self.assertIsNone(await here.locate("0123456789abcdef.1"))

    async def test_the_floor_of_a_namespace_that_another_instance_does_not_keep_stays(self) -> None:
        """While they are restarted one after the other with other namespaces; what one prunes is told by all."""
        keeps = await self.make_store(namespaces=["a", "b"])
        await keeps.commit(say(*[event(f"e{n}", "ada") for n in range(9)]))
        await keeps.commit(Unit((Step("floor_raise", {"namespace": "a", "position": 5}),)))
        other = await self.make_store(namespaces=["b"])
        for store in (keeps, other):
            self.assertEqual(await store.retention_floors(), {"a": 5, "b": 0})
        await keeps.commit(Unit((Step("floor_raise", {"namespace": "a", "position": 7}, expected_rows=1),)))
        self.assertEqual((await keeps.retention_floors())["a"], 7)
        again = await self.make_store(namespaces=["a", "b"])  # meanwhile `other` has logged nothing of it
        self.assertEqual(await again.retention_floors(), {"a": 9, "b": 0})
        await self.make_store(namespaces=["a", "b"])
        await again.commit(say(event("e9", "ada")))
        self.assertEqual(
            await (await self.make_store(namespaces=["a", "b"])).retention_floors(), {"a": 9, "b": 0}
        )

    async def test_eight_writers_with_random_delays_never_make_a_reader_skip(self) -> None:
        """Positions are dense in commit order: who has seen one has seen all before it."""
        stores = [await self.make_store(min_connections=1, max_connections=2) for _ in range(8)]
        reader = await self.make_store()
        await stores[0].commit(add_user("ada"))
        seen: list[int] = []
        done = False

        async def write(store: Any, name: str) -> list[str]:
            chance = random.Random(name)
            cursors = []
            for n in range(40):
                await deferLater(reactor, chance.random() / 100)
                told = event(f"{name}.{n}", "ada", n=n)
                cursors.append(await store.commit(add_message(f"{name}.{n}", "ada", n, told)))
            return cursors

        async def poll() -> None:
            while not done or (seen[-1] if seen else 0) < 320:
                entries = await reader.read_after(seen[-1] if seen else 0, 100)
                seen.extend(entry.position for entry in entries)
                await deferLater(reactor, 0.001)

        polling = Deferred.fromCoroutine(poll())
        cursors = await gatherResults(
            [Deferred.fromCoroutine(write(store, f"w{n}")) for n, store in enumerate(stores)]
        )
        done = True
        await polling
        self.assertEqual(seen, list(range(1, 321)))
        entries = await reader.read_after(0, 400)
        self.assertEqual({entry.cursor for entry in entries}, {cursor for each in cursors for cursor in each})
        for n in range(8):  # each writer's own are in its order
            mine = [entry.event.id for entry in entries if entry.event.id.startswith(f"w{n}.")]
            self.assertEqual(mine, [f"w{n}.{m}" for m in range(40)])

    async def test_a_restored_backup_under_a_running_instance_begins_a_term(self) -> None:
        store = await self.make_store()
        first = await store.commit(say(event("e1", "ada")))
        lost = await store.commit(say(event("e2", "ada")))
        with psycopg.connect(self.conninfo) as other:  # what a restore of an hour ago comes to
            other.execute("DELETE FROM events WHERE position = 2")
            other.execute("DELETE FROM heads WHERE position > 1")
        now = await store.commit(say(event("e3", "ada")))
        self.assertEqual([await store.locate(cursor) for cursor in (first, lost, now)], [1, None, 2])
        self.assertNotEqual(lost, now)


class PasswordTests(DatabaseCase):
    """A login with the old password on one instance, while another one sets the new."""

    async def waits(self) -> None:
        """Returns when somebody waits for somebody else's lock."""
        query = b"SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        with psycopg.connect(self.conninfo, autocommit=True) as looking:
            while looking.execute(query).fetchone() == (0,):
                await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    def other_hand(self, statement: str) -> psycopg.Connection[Any]:
        """Another instance in the middle of its transaction."""
        other = psycopg.connect(self.conninfo)
        self.addCleanup(other.close)
        other.execute(statement.encode())
        return other

    async def test_the_password_comes_first(self) -> None:
        store = await self.make_store()
        await store.commit(add_user("ada"))
        other = self.other_hand("UPDATE users SET password_hash = 'new' WHERE id = 'ada'")
        login = store.commit(add_session("s1", "ada"))
        await self.waits()
        other.commit()
        self.assertEqual(await refusal(login), GONE)

    async def test_the_session_comes_first(self) -> None:
        """Whoever sets the password sees it then, and ends it."""
        store = await self.make_store()
        await store.commit(add_user("ada"))
        add = load_statements(sql_directory("postgresql") / "queries")["session_add"]
        for name, value in add_session("s1", "ada").steps[0].params.items():
            add = re.sub(rf"(?<!:):{name}\b", f"'{value}'", add)
        other = self.other_hand(add.replace("'100'", "100"))
        rest = {"user_id": "ada", "keep": "", "at": at(1), "now": at(1)}
        others = Step("sessions_revoke_others", rest, expected_rows=0, miss=TAKEN)
        (amend,) = amend_user("ada", 1).steps
        # The same address: a new one is a key, and would wait for the foreign key's lock anyway.
        params = {**amend.params, "email_key": "ada@x.org"}
        amending = store.commit(Unit((evolve(amend, params=params), others)))
        await self.waits()
        other.commit()
        self.assertEqual(await refusal(amending), TAKEN)
