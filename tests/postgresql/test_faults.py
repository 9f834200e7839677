"""What becomes of reads and units while the connection, the server or another instance fails."""

from __future__ import annotations

from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent

from multiproto.core.errors import DatabaseError, DataDamaged, Refusal, TimedOut, Unavailable
from multiproto.storage.check import RowsRead
from multiproto.storage.jobs import QueueFull
from multiproto.storage.postgresql import writer
from multiproto.storage.postgresql.check import find_damage
from multiproto.storage.postgresql.read_queue import MAX_PIPELINED_READS
from multiproto.storage.postgresql.store import PostgresStore
from multiproto.storage.statements import load_statements, sql_directory
from tests.servers import Postgres
from tests.storage.units import TAKEN, add_session, add_user, event, say, user_by_id
from tests.timing import RESCUE, Stopwatch, measured

from .cases import DatabaseCase, outcome, refusal

LOCK = load_statements(sql_directory("postgresql") / "queries")["log_lock"].encode()
COMMIT = b"commit\0"  # the name of the prepared statement, in a Bind


class FaultCase(DatabaseCase):
    """How long the store waits is part of what is tested."""

    is_patient = False


class CommitTests(DatabaseCase):
    """A COMMIT whose answer is lost is looked up; nothing is done twice, and nothing said that is not so."""

    usual_timeout = writer.WRITE_TIMEOUT

    async def through(self) -> tuple[Any, PostgresStore]:
        proxy, conninfo = await self.proxied()
        store = await self.make_store(conninfo)
        await store.commit(add_user("ada"))
        return proxy, store

    async def ids(self, store: PostgresStore) -> list[str]:
        """Those of the log, once the connections that read are back, too."""
        while isinstance(entries := await outcome(store.read_after(0, 100)), Unavailable):
            await deferLater(reactor, 0.05)
        return [entry.event.id for entry in entries]

    async def test_one_that_was_kept_is_answered_as_kept(self) -> None:
        proxy, store = await self.through()
        swallowed: list[bytes] = []

        def on_request(data: bytes) -> bytes:
            if COMMIT in data and not swallowed:
                proxy.on_answer = swallow
            return data

        def swallow(data: bytes) -> bytes:
            swallowed.append(data)
            proxy.on_answer = lambda data: data
            reactor.callLater(0, proxy.cut)  # type: ignore[attr-defined]
            return b""

        proxy.on_request = on_request
        cursor = await store.commit(say(event("e1", "ada")))
        self.assertEqual(len(swallowed), 1)
        self.assertEqual(([entry.cursor for entry in await store.read_after(0, 9)]), [cursor])
        await store.commit(say(event("e2", "ada")))
        self.assertEqual(await self.ids(store), ["e1", "e2"])

    async def test_one_that_was_kept_before_the_server_went_down_in_the_middle_of_it(self) -> None:
        """It says FATAL to the COMMIT that it has just synced; that is no word on its outcome."""
        proxy, store = await self.through()
        farewell = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection\0\0"

        def on_request(data: bytes) -> bytes:
            if COMMIT in data:
                proxy.on_request = lambda data: data
                proxy.on_answer = fatal
            return data

        def fatal(data: bytes) -> bytes:
            proxy.on_answer = lambda data: data
            reactor.callLater(0, proxy.cut)  # type: ignore[attr-defined]
            return b"E" + (len(farewell) + 4).to_bytes(4, "big") + farewell

        proxy.on_request = on_request
        cursor = await store.commit(say(event("e1", "ada")))
        self.assertEqual([entry.cursor for entry in await store.read_after(0, 9)], [cursor])

    async def test_one_that_never_arrived_is_refused_and_nothing_is_there(self) -> None:
        proxy, store = await self.through()
        cut: list[bytes] = []

        def on_request(data: bytes) -> bytes:
            if COMMIT in data and not cut:
                cut.append(data)
                reactor.callLater(0, proxy.cut)  # type: ignore[attr-defined]
                return b""
            return data

        proxy.on_request = on_request
        self.assertIsInstance(await refusal(store.commit(say(event("e1", "ada")))), Unavailable)
        self.assertEqual(len(cut), 1)
        self.assertEqual(await self.ids(store), [])

    async def test_one_that_nobody_can_tell_of_is_said_to_be_unknown(self) -> None:
        proxy, store = await self.through()
        self.patch(writer, "WRITE_TIMEOUT", self.usual_timeout)

        def on_request(data: bytes) -> bytes:
            if COMMIT in data:
                proxy.refusing = True
                reactor.callLater(0.05, proxy.cut)  # type: ignore[attr-defined]
            return data

        proxy.on_request = on_request
        proxy.on_answer = lambda data: b"" if proxy.refusing else data
        asked = Stopwatch()
        self.assertIsInstance(await refusal(store.commit(say(event("e1", "ada")))), DatabaseError)
        asked.stop("a commit of unknown outcome is answered", 3)
        proxy.refusing = False
        proxy.on_request = lambda data: data
        while isinstance(await outcome(store.commit(say(event("e2", "ada")))), Refusal):
            await deferLater(reactor, 0.05)
        self.assertEqual(await self.ids(store), ["e1", "e2"])

    async def test_a_unit_of_the_lost_batch_that_was_refused_stays_refused(self) -> None:
        proxy, store = await self.through()

        def on_request(data: bytes) -> bytes:
            if COMMIT in data:
                proxy.on_request = lambda data: data
                reactor.callLater(0.1, proxy.cut)  # type: ignore[attr-defined]
                proxy.on_answer = lambda data: b""
                reactor.callLater(0.1, setattr, proxy, "on_answer", lambda data: data)  # type: ignore[attr-defined]
            return data

        proxy.on_request = on_request
        units = [add_user("ada"), add_user("bob", 0, event("e1", "bob"))]
        taken, bob = await gatherResults(
            [Deferred.fromCoroutine(outcome(store.commit(unit))) for unit in units]
        )
        self.assertEqual(taken, TAKEN)
        self.assertIsInstance(bob, str)


class AwayTests(FaultCase):
    """Fast refusals, no lost connection of ours, and back by itself.

    docs/guarantees.md#g10-degrade-do-not-die
    """

    def use_server(self) -> Postgres:
        server = Postgres()
        self.addCleanup(server.stop)
        return server

    async def test_a_killed_server_costs_nothing_that_was_acknowledged(self) -> None:
        store = await self.make_store()
        kept: list[str] = []
        unknown: list[str] = []
        slowest = 0.0
        back: Stopwatch | None = None
        going = True

        async def write(name: str) -> None:
            nonlocal slowest, back
            n = 0
            while going:
                id, n, asked = f"{name}.{n}", n + 1, Stopwatch()
                answer = await outcome(store.commit(say(event(id, "ada"))))
                slowest = max(slowest, asked.seconds)
                if isinstance(answer, str):
                    kept.append(id)
                    if back is not None:
                        back.stop("commits go on when PostgreSQL is back", 5)
                        back = None
                elif isinstance(answer, Unavailable):
                    await deferLater(reactor, 0.02)
                else:
                    self.assertIsInstance(answer, DatabaseError)
                    unknown.append(id)

        writing = gatherResults([Deferred.fromCoroutine(write(f"w{n}")) for n in range(10)])
        for _ in range(3):
            enough = len(kept) + 20
            while len(kept) < enough:
                await deferLater(reactor, 0.02)
            self.server.kill()
            await deferLater(reactor, 0.5)
            self.server.start()
            back = Stopwatch()
            while back is not None:
                await deferLater(reactor, 0.02)
        going = False
        await writing
        measured("a commit is answered while PostgreSQL goes away", slowest, 4)
        # Reads have connections of their own, which may be back a little later than the one that writes.
        while isinstance(entries := await outcome(store.read_after(0, 100_000)), Unavailable):
            await deferLater(reactor, 0.02)
        self.assertEqual([entry.position for entry in entries], list(range(1, len(entries) + 1)))
        there = [entry.event.id for entry in entries]
        self.assertEqual(len(there), len(set(there)))
        self.assertTrue(set(kept) <= set(there) <= set(kept) | set(unknown))

    async def test_while_it_is_away_everything_is_refused_at_once(self) -> None:
        store = await self.make_store()
        self.server.kill()
        while not isinstance(await outcome(store.read()), Unavailable):
            await deferLater(reactor, 0.01)
        asked = Stopwatch()
        answers = [store.commit(say(event("e", "ada"))) for _ in range(100)] + [
            store.read() for _ in range(100)
        ]
        for answer in answers:
            self.assertIsInstance(await refusal(answer), Unavailable)
        asked.stop("200 requests are refused while PostgreSQL is away", 2)
        self.server.start()
        while not isinstance(await outcome(store.commit(say(event("e", "ada")))), str):
            await deferLater(reactor, 0.02)

    async def test_idle_connections_that_the_server_ends_are_made_anew_unseen(self) -> None:
        self.patch(writer, "WRITE_TIMEOUT", RESCUE)  # to connect may take long on a busy machine
        store = await self.make_store()
        await store.commit(add_user("ada"))
        with psycopg.connect(self.conninfo, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            )
        while store.connections:
            await deferLater(reactor, 0.001)
        answers = [store.read(user_by_id("ada")), store.commit(say(event("e", "ada")))]
        self.assertEqual([success for success, _ in await DeferredList(answers)], [True, True])


class SilentTests(FaultCase):
    """A server, or another instance, that gives no answer and no error."""

    async def test_a_silent_server_is_given_up(self) -> None:
        proxy, conninfo = await self.proxied()
        store = await self.make_store(conninfo)
        proxy.silent = True
        asked = Stopwatch()
        first, second = store.commit(say(event("e1", "ada"))), store.commit(say(event("e2", "ada")))
        self.assertIsInstance(await refusal(first), Unavailable)
        self.assertIsInstance(await refusal(second), Unavailable)
        asked.stop("a silent PostgreSQL is given up", 2.1)
        proxy.silent = False
        proxy.cut()
        while not isinstance(await outcome(store.commit(say(event("e3", "ada")))), str):
            await deferLater(reactor, 0.05)
        asked.stop("commits go on after a silence", 7)
        self.assertEqual([entry.event.id for entry in await store.read_after(0, 9)], ["e3"])

    async def test_an_instance_that_halts_with_the_lock_does_not_hold_up_the_others_for_long(self) -> None:
        store = await self.make_store()
        with psycopg.connect(self.conninfo) as halted:
            halted.execute(LOCK)
            asked = Stopwatch()
            self.assertIsInstance(await refusal(store.commit(say(event("e1", "ada")))), Unavailable)
            asked.stop("a commit behind a halted instance is refused", 2.1)
        while not isinstance(await outcome(store.commit(say(event("e2", "ada")))), str):
            await deferLater(reactor, 0.05)
        self.assertEqual([entry.event.id for entry in await store.read_after(0, 9)], ["e2"])

    async def test_a_read_that_takes_too_long_is_broken_off_and_the_others_go_on(self) -> None:
        store = await self.make_store(read_timeout=1.0)
        with psycopg.connect(self.conninfo) as other:
            other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            slow, quick = store.read(user_by_id("ada")), store.read_after(0, 1)
            self.assertIsInstance(await refusal(slow), TimedOut)
            self.assertEqual(await quick, ())


class QueueTests(DatabaseCase):
    async def test_the_queue_takes_so_many_and_no_more(self) -> None:
        store = await self.make_store(max_waiting=3)
        with psycopg.connect(self.conninfo) as other:
            other.execute(LOCK)
            answers = [store.commit(say(event(f"e{n}", "ada"))) for n in range(4)]
            self.assertEqual(await refusal(answers[3]), QueueFull("The database is overloaded"))
        await gatherResults(answers[:3])

    async def test_a_read_that_still_waits_at_the_stop_hears_that_the_database_is_closed(self) -> None:
        store = await self.make_store(min_connections=2, max_connections=2)
        with psycopg.connect(self.conninfo) as other:
            other.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
            reads = [store.read(user_by_id("ada")) for _ in range(MAX_PIPELINED_READS + 1)]
            stopped = store.stopService()
            self.assertEqual(await refusal(reads[-1]), Unavailable("The database is closed"))
            for in_flight in reads[:-1]:
                self.assertEqual(await refusal(in_flight), Unavailable("The database is away"))
        await stopped

    async def test_a_text_that_postgresql_cannot_hold_costs_its_own_unit_only(self) -> None:
        store = await self.make_store()
        units = [add_user("a", 0, event("e1", "a")), add_user("b\0", 0, event("e2", "b")), add_user("c")]
        answers = await gatherResults([Deferred.fromCoroutine(outcome(store.commit(unit))) for unit in units])
        self.assertEqual([type(answer) for answer in answers], [str, DatabaseError, str])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_a_full_disk_refuses_what_is_written_and_heals(self) -> None:
        """A trigger says what PostgreSQL says when a table can't be extended."""
        store = await self.make_store()
        await store.commit(add_user("ada", 0, event("e1", "ada")))
        with psycopg.connect(self.conninfo, autocommit=True) as other:
            other.execute(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
            )
            for table in ("events", "sessions"):
                other.execute(
                    f"CREATE TRIGGER no_room BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION full_disk()"
                )
            units = [
                add_user("bob", 0, event("e2", "bob")),
                say(event("e3", "ada")),
                add_session("s", "ada"),  # the rows of a SELECT
            ]
            for unit in units:
                self.assertIsInstance(await refusal(store.commit(unit)), Unavailable)
            self.assertEqual((await store.read(user_by_id("bob"))).results[0], ())
            for table in ("events", "sessions"):
                other.execute(f"DROP TRIGGER no_room ON {table}")
        healing = Stopwatch()
        while isinstance(await Deferred.fromCoroutine(outcome(store.commit(units[1]))), Refusal):
            pass
        healing.stop("commits go on when the disk has room again", 5)
        self.assertEqual([entry.event.id for entry in await store.read_after(0, 9)], ["e1", "e3"])

    async def test_many_reads_open_more_connections_up_to_the_most(self) -> None:
        store = await self.make_store(min_connections=2, max_connections=5)
        self.assertEqual(store.connections, 2)
        for _ in range(100):
            await gatherResults([store.read(user_by_id("ada")) for _ in range(300)])
            if store.connections == 5:
                break
        await gatherResults([store.read(user_by_id("ada")) for _ in range(300)])
        self.assertEqual(store.connections, 5)


class DamageTests(DatabaseCase):
    async def test_what_postgresql_calls_corrupted_is_refused_and_said(self) -> None:
        """A function says what PostgreSQL says of a page whose checksum is wrong."""
        store = await self.make_store()
        await store.commit(add_user("ada"))
        with psycopg.connect(self.conninfo, autocommit=True) as other:
            other.execute(
                "CREATE FUNCTION corrupted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                " RAISE 'invalid page in block 7 of relation base/5/1' USING ERRCODE = 'data_corrupted'; END $$"
            )
            other.execute(
                "CREATE TRIGGER damaged BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION corrupted()"
            )
        self.assertEqual(store.damage_warning, None)
        damaged, kept = store.commit(say(event("e1", "ada"))), store.commit(add_user("bob"))
        self.assertIsInstance(await refusal(damaged), DataDamaged)
        await kept
        self.assertIn("invalid page in block 7", str(store.damage_warning))
        self.assertEqual((await store.read(user_by_id("bob"))).results[0][0]["id"], "bob")

    async def test_the_check_of_all_data_finds_what_is_no_json(self) -> None:
        store = await self.make_store()
        await store.commit(add_user("ada", 0, event("e1", "ada"), event("e2", "ada")))
        read = RowsRead()
        self.assertEqual(await deferToThread(lambda: list(find_damage(self.conninfo, read))), [])
        self.assertGreater(read.rows, 3)
        with psycopg.connect(self.conninfo, autocommit=True) as other:
            other.execute("UPDATE events SET content = '{' WHERE id = 'e2'")
        found = await deferToThread(lambda: list(find_damage(self.conninfo, read)))
        self.assertEqual(found, ["events, row 2: content is no JSON"])

    async def test_a_server_without_checksums_is_warned_about(self) -> None:
        with capturedLogs() as logged:
            await self.make_store()
        warned = any("keeps no checksums" in formatEvent(happened) for happened in logged)
        self.assertEqual(warned, self.server.ask("SHOW data_checksums") == "off")
