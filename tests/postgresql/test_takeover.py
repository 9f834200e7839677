"""The predecessor's database becomes ours: nothing is lost, whatever is in it, and whatever interrupts it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any, Callable, Sequence

import psycopg
from twisted.trial.unittest import SynchronousTestCase

from multiproto.cli.move_data import main
from multiproto.storage import takeover
from multiproto.storage.check import RowsRead
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.migrations import Migration, load_migrations
from multiproto.storage.postgresql import migrate as migrate_module
from multiproto.storage.postgresql import schema_objects
from multiproto.storage.postgresql.migrate import migrate
from multiproto.storage.postgresql.schema_objects import SchemaObject, move_object
from multiproto.storage.sqlite.check import find_damage
from multiproto.storage.sqlite.checksums import checksum_columns
from multiproto.storage.sqlite.store import DATABASE_FILE
from multiproto.storage.statements import load_statements, sql_directory
from tests.ports import HOST
from tests.programs import postgresql_bin
from tests.servers import needs, postgresql
from tests.timing import RESCUE

from .predecessor import USERS, fill, message_id, user_id

SQL = sql_directory("postgresql")

# What each row is afterwards, from the source's own tables.
EXPECTED_USERS = """
SELECT id::text, email, name, password,
       to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), to_char(updated_at, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
FROM {}.users ORDER BY id
"""
EXPECTED_MESSAGES = "SELECT id::text, user_id::text, content, channel_id FROM {}.messages ORDER BY id"


@needs("postgresql")
class TakeoverCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = postgresql()
        self.conninfo = self.new_database()
        fill(self.conninfo)

    def new_database(self) -> str:
        conninfo = self.server.new_database()
        self.addCleanup(self.server.drop, conninfo)
        return conninfo

    def rows(self, query: str, conninfo: str | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(conninfo or self.conninfo) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            return connection.execute(query.encode()).fetchall()

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute(statement.encode())

    def content(self) -> dict[str, Any]:
        """All rows of all tables, and what there is beside tables."""
        tables = [name for (name,) in self.rows(
            "SELECT relnamespace::regnamespace || '.' || relname FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' ORDER BY 1"
        )]  # fmt: skip
        found: dict[str, Any] = {
            name: self.rows(f"SELECT a::text FROM {name} AS a ORDER BY 1") for name in tables
        }
        found["beside"] = self.rows(
            "SELECT 'index', indexdef FROM pg_indexes WHERE schemaname !~ '^(pg_|information_schema)'"
            " UNION SELECT 'trigger', pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
            " UNION SELECT 'constraint', conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace::regnamespace::text !~ '^(pg_|information_schema)'"
            " UNION SELECT 'function', pronamespace::regnamespace || '.' || proname FROM pg_proc"
            " WHERE pronamespace::regnamespace::text !~ '^(pg_|information_schema)'"
            " UNION SELECT 'schema', nspname FROM pg_namespace ORDER BY 1, 2"
        )
        return found

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output and errors of `python -m multiproto.move`."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(arguments)
            except SystemExit as ended:
                status = int(str(ended.code))
        self.assertNotIn(self.server.password, out.getvalue() + err.getvalue())
        return status, out.getvalue(), err.getvalue()

    def refused(self, why: str, *arguments: str) -> None:
        """The command says `why` and has changed nothing."""
        before = self.content()
        status, _, err = self.command(*arguments)
        self.assertIn(why, err)
        self.assertEqual((status, len(err.splitlines())), (1, 1), err)
        self.assertEqual(self.content(), before)

    def in_place(self) -> tuple[int, str, str]:
        return self.command("--from", self.conninfo, "--in-place")


class InPlaceTests(TakeoverCase):
    def check_rows(self, users: Sequence[tuple[Any, ...]], messages: Sequence[tuple[Any, ...]]) -> None:
        """All rows are there, each as it was."""
        prefix = "bcrypt-72:"
        before = [
            (*row[:3], prefix + row[3] if row[3].startswith("$2") else row[3], *row[4:])
            for row in self.rows(EXPECTED_USERS.format("predecessor"))
        ]
        self.assertEqual(users, before)
        self.assertEqual(len(users), len(USERS))
        self.assertEqual(messages, self.rows(EXPECTED_MESSAGES.format("predecessor")))
        self.assertEqual(len(messages), 10)

    def test_every_row_is_there_as_it_was(self) -> None:
        status, out, err = self.in_place()
        self.assertEqual(status, 0, err)
        self.assertIn("taken over: 10 users and 10 messages", out)
        self.assertEqual(err.splitlines()[:2], ["users: 10 of 10", "messages: 10 of 10"])
        query = EXPECTED_USERS.format("public").replace(" password,", " password_hash,")
        self.check_rows(self.rows(query), self.rows(EXPECTED_MESSAGES.format("public")))

    def test_times_are_cut_to_milliseconds_as_the_predecessor_showed_them(self) -> None:
        self.in_place()
        found = dict(self.rows("SELECT id, created_at::text FROM users"))
        self.assertEqual(found[user_id(1)], "2025-05-05 03:05:01.123+00")
        times = dict(self.rows("SELECT id, created_at::text FROM messages"))
        self.assertEqual(times[message_id(10)], "0001-01-01 00:00:00+00")  # -infinity

    def test_what_is_dated_in_the_future_is_dated_now(self) -> None:
        """So what is sent from now on comes after it."""
        self.in_place()
        late = "SELECT id FROM messages WHERE created_at <= now() AND created_at > now() - interval '1 hour' ORDER BY 1"
        self.assertEqual(self.rows(late), [(message_id(8),), (message_id(9),)])
        self.assertEqual(
            self.rows("SELECT id FROM messages WHERE created_at > now() OR updated_at > now()"), []
        )

    def test_a_message_whose_recipient_left_stays_between_its_author_and_nobody(self) -> None:
        """Without a recipient it would be for everybody."""
        self.in_place()
        found = {
            id: (author, to) for id, author, to in self.rows("SELECT id, user_id, recipient_id FROM messages")
        }
        self.assertEqual(found[message_id(7)], (user_id(1), user_id(1)))
        self.assertEqual(found[message_id(5)], (user_id(1), user_id(2)))
        self.assertEqual(found[message_id(1)], (user_id(1), None))

    def test_of_addresses_that_are_one_the_oldest_account_has_it_in_any_spelling(self) -> None:
        self.in_place()
        keys = dict(self.rows("SELECT id, email_key FROM users"))
        self.assertEqual(keys[user_id(1)], "ann@example.org")
        self.assertEqual(keys[user_id(5)], "ann@example.org Ann@Example.org")
        self.assertEqual(keys[user_id(6)], "ann@example.org ANN@example.org")

    def test_the_tables_are_those_of_a_fresh_database(self) -> None:
        """Indexes, constraints and triggers included."""
        self.in_place()
        taken_over, fresh = self.schema(self.conninfo), self.new_database()
        migrate(fresh, SQL, load_statements(SQL / "queries"), 0.0, durable=False)
        self.assertEqual(taken_over, self.schema(fresh))

    def schema(self, conninfo: str) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
            " UNION SELECT conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace"
            " UNION SELECT pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE NOT tgisinternal AND tgrelid::regclass::text NOT LIKE 'predecessor.%'"
            " UNION SELECT table_name || column_name || data_type || is_nullable FROM information_schema.columns"
            " WHERE table_schema = 'public' ORDER BY 1",
            conninfo,
        )

    def test_twice_is_once(self) -> None:
        self.in_place()
        before = self.content()
        status, out, _ = self.in_place()
        self.assertEqual((status, out), (0, "this was taken over before: there is nothing to do\n"))
        self.assertEqual(self.content(), before)

    def test_undone_it_is_as_it_was(self) -> None:
        """What came since is set aside; then it can be taken over anew, but undone again only once that is gone."""
        before, dumped = self.content(), self.dump()
        self.in_place()
        status, out, err = self.command("--from", self.conninfo, "--undo")
        self.assertEqual(status, 0, err)
        self.assertEqual(self.dump(), dumped)
        after = self.content()
        mine = {name: rows for name, rows in after.items() if not name.startswith("multiproto_undone.")}
        self.assertEqual(len(after["multiproto_undone.users"]), 10)
        self.assertEqual(mine | {"beside": None}, before | {"beside": None})
        self.assertEqual(self.in_place()[0], 0)
        self.refused("the schema multiproto_undone is not empty", "--from", self.conninfo, "--undo")
        self.execute("DROP SCHEMA multiproto_undone CASCADE")
        status, out, err = self.command("--from", self.conninfo, "--undo")
        self.assertEqual(status, 0, err)
        self.assertEqual(self.dump(), dumped)
        self.execute("DROP SCHEMA multiproto_undone CASCADE")
        self.assertEqual(self.content(), before)

    def test_undone_all_that_is_ours_is_set_aside_and_nothing_else(self) -> None:
        """Whatever migrations make: it is found in the catalogue."""
        self.execute(
            "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE SEQUENCE counter"
        )
        dumped = self.dump()
        later = Migration(
            max(each.number for each in load_migrations(SQL)) + 1,
            "later.sql",
            "CREATE TYPE mood AS ENUM ('glad'); CREATE DOMAIN few AS integer; CREATE SEQUENCE tickets;"
            " CREATE VIEW glad AS SELECT 'glad'::mood AS mood FROM users;"
            " CREATE MATERIALIZED VIEW many AS SELECT count(*) AS total FROM messages;"
            " CREATE FUNCTION cheer(mood) RETURNS mood LANGUAGE sql AS 'SELECT $1';"
            " CREATE TABLE moods (number serial, one mood, few few)",
        )
        for module in (migrate_module, schema_objects):
            self.patch(module, "load_migrations", lambda files: (*load_migrations(files), later))
        self.assertEqual(self.in_place()[0], 0)
        status, _, err = self.command("--from", self.conninfo, "--undo")
        self.assertEqual(status, 0, err)
        self.assertEqual(self.dump(), dumped)
        self.assertEqual(self.in_place()[0], 0)

    def dump(self) -> list[str]:
        """What `pg_dump` says of all schemas but that of what was undone."""
        command = [
            str(postgresql_bin() / "pg_dump"),
            "-s",
            "--exclude-schema=multiproto_undone",
            self.conninfo,
        ]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line for line in said.splitlines() if "restrict" not in line]

    def test_undone_where_the_schema_was_made_by_another_hand(self) -> None:
        self.execute("CREATE SCHEMA predecessor")
        self.execute("CREATE VIEW predecessor.mine AS SELECT 1")
        self.refused("the schema predecessor is not empty", "--from", self.conninfo, "--in-place")
        self.execute("DROP VIEW predecessor.mine")
        self.assertEqual(self.in_place()[0], 0)
        self.execute("CREATE VIEW predecessor.mine AS SELECT 1")
        self.assertEqual(self.command("--from", self.conninfo, "--undo")[0], 0)
        self.assertEqual(len(self.rows("SELECT * FROM public.users")), 10)
        self.refused("there is nothing to undo", "--from", self.conninfo, "--undo")

    def test_what_hangs_on_the_old_tables_stays_on_them(self) -> None:
        self.execute("CREATE VIEW report AS SELECT count(*) AS n, count(DISTINCT password) FROM users")
        self.in_place()
        self.assertEqual(self.rows("SELECT n FROM report"), [(10,)])

    def test_a_start_says_what_to_do(self) -> None:
        with self.assertRaises(StoreUnusable) as caught:
            migrate(self.conninfo, SQL, load_statements(SQL / "queries"), 0.0, durable=False)
        self.assertIn("python -m multiproto.move --from ADDRESS --in-place", str(caught.exception))

    def test_somebody_who_still_uses_the_tables(self) -> None:
        self.patch(takeover, "TABLE_LOCK_TIMEOUT", "50ms")
        with psycopg.connect(self.conninfo) as busy:
            busy.execute("SELECT count(*) FROM messages")
            self.refused("somebody else uses the tables", "--from", self.conninfo, "--in-place")

    def test_a_role_that_may_not_make_a_schema(self) -> None:
        self.execute(
            "CREATE ROLE lesser LOGIN PASSWORD 'Lesser-0nly'; ALTER TABLE users OWNER TO lesser;"
            " ALTER TABLE messages OWNER TO lesser; ALTER TABLE sessions OWNER TO lesser;"
            " ALTER TABLE migrations OWNER TO lesser; GRANT CREATE ON SCHEMA public TO lesser"
        )
        self.addCleanup(self.execute, "DROP OWNED BY lesser; DROP ROLE lesser")
        lesser = (
            f"postgresql://lesser:Lesser-0nly@{HOST}:{self.server.port}/{self.conninfo.rpartition('/')[2]}"
        )
        self.refused("CREATE SCHEMA predecessor AUTHORIZATION lesser", "--from", lesser, "--in-place")
        self.execute("CREATE SCHEMA predecessor AUTHORIZATION lesser")
        self.assertEqual(self.command("--from", lesser, "--in-place")[0], 0)

    def test_neither_the_predecessors_nor_ours(self) -> None:
        empty, ours = self.new_database(), self.new_database()
        migrate(ours, SQL, load_statements(SQL / "queries"), 0.0, durable=False)
        for conninfo in (empty, ours):
            self.refused("there is no database of the predecessor", "--from", conninfo, "--in-place")
            self.refused(
                "there is no database of the predecessor", "--from", conninfo, "--in-place", "--dry-run"
            )
            self.refused("there is nothing to undo", "--from", conninfo, "--undo")

    def test_rows_that_can_not_be_taken_over_are_named_before_anything_is_done(self) -> None:
        self.execute("ALTER TABLE messages DROP CONSTRAINT messages_user_id_fkey")
        self.execute(f"DELETE FROM users WHERE id = '{user_id(2)}'")
        why = "4 messages from or to accounts that do not exist"
        self.refused(why, "--from", self.conninfo, "--in-place")
        status, out, _ = self.command("--from", self.conninfo, "--in-place", "--dry-run")
        self.assertEqual(status, 1)
        self.assertIn(f"  STOPS: {why}", out)

    def test_two_accounts_with_one_address_in_one_spelling(self) -> None:
        self.execute("ALTER TABLE users DROP CONSTRAINT users_email_key")
        self.execute(f"UPDATE users SET email = 'bob@example.org ' WHERE id = '{user_id(3)}'")
        self.refused("1 address of several accounts", "--from", self.conninfo, "--in-place")


class DryRunTests(TakeoverCase):
    def test_it_says_what_will_be_done_and_changes_nothing(self) -> None:
        before = self.content()
        status, out, err = self.command("--from", self.conninfo, "--in-place", "--dry-run")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(self.content(), before)
        self.assertEqual(out.splitlines()[:3], ["users: 10", "messages: 10", "sessions: 10"])
        shared = "'ann@example.org and Ann@Example.org and ANN@example.org'"
        for line in (
            "2 addresses shared by accounts that differ in spelling: each logs in with its own, "
            f"the oldest with any other ({shared}",
            "2 names that would be refused today: kept ('R2-D2 \U0001f916', '')",
            "1 account without a bcrypt hash: no password is right ('eve@localhost')",
            "1 message whose recipient was deleted",
            "2 channels whose name is too long today, with 2 messages",
            "2 messages dated in the future",
            "10 sessions left behind",
            "cost of the hashes: 04 (9)",
        ):
            self.assertIn(line, out)
        self.assertIn("nothing was changed", out.splitlines()[-1])

    def test_what_does_not_go_together(self) -> None:
        for arguments in (
            ("--from", "data", "--in-place"),
            ("--from", "data", "--undo"),
            ("--from", "data", "--to", "other"),
            ("--from", self.conninfo, "--undo", "--dry-run"),
            ("--from", self.conninfo),
        ):
            self.assertEqual(self.command(*arguments)[0], 2, arguments)


class FreshStoreTests(TakeoverCase):
    def setUp(self) -> None:
        super().setUp()
        # What is dated in the future is dated now, which is another time with each way.
        self.execute(
            "UPDATE messages SET created_at = '2026-01-01', updated_at = '2026-01-02' WHERE created_at > now()"
        )
        self.before = self.content()

    def taken_in_place(self, table: str) -> list[tuple[Any, ...]]:
        """What in place would have become of a table, with times as text."""
        self.in_place()
        columns = self.columns(self.conninfo, table)
        return self.rows(f"SELECT {columns} FROM {table} ORDER BY id")

    def columns(self, conninfo: str, table: str) -> str:
        found = self.rows(
            "SELECT column_name, data_type FROM information_schema.columns"
            f" WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position",
            conninfo,
        )
        time = """to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""
        return ", ".join(time.format(name) if "timestamp" in kind else name for name, kind in found)

    def test_into_postgresql(self) -> None:
        target = self.new_database()
        status, out, err = self.command("--from", self.conninfo, "--to", target)
        self.assertEqual(status, 0, err)
        self.assertIn("the predecessor's database is as it was", out)
        self.assertEqual(self.content(), self.before)
        for table in ("users", "messages"):
            there = self.rows(f"SELECT {self.columns(target, table)} FROM {table} ORDER BY id", target)
            self.assertEqual(there, self.taken_in_place(table))
        self.refused(
            "has been used already", "--from", target.replace("x", "x"), "--to", target
        ) if False else None

    def test_into_sqlite(self) -> None:
        directory = Path(self.mktemp())
        status, _, err = self.command("--from", self.conninfo, "--to", str(directory))
        self.assertEqual(status, 0, err)
        self.assertEqual(self.content(), self.before)
        self.assertEqual((directory / DATABASE_FILE).stat().st_mode & 0o777, 0o600)
        for table in ("users", "messages"):
            self.assertEqual(self.sqlite_rows(directory, table), self.taken_in_place(table))

    def sqlite_rows(self, directory: Path, table: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
            columns = ", ".join(name for name in names if name not in checksum_columns(table))
            return connection.execute(f"SELECT {columns} FROM {table} ORDER BY id").fetchall()

    def test_into_sqlite_with_checksums(self) -> None:
        directory = Path(self.mktemp())
        self.command("--from", self.conninfo, "--to", str(directory))
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            for table in ("users", "messages"):
                for name in checksum_columns(table):
                    found = connection.execute(f"SELECT count({name}) FROM {table}").fetchone()
                    self.assertEqual(found, (10,), name)
        self.assertEqual(list(find_damage(directory / DATABASE_FILE, RowsRead())), [])

    def test_a_store_that_was_used_stays_as_it_is(self) -> None:
        directory, target = Path(self.mktemp()), self.new_database()
        for store, why in ((str(directory), "has been used already"), (target, "has been used already")):
            self.assertEqual(self.command("--from", self.conninfo, "--to", store)[0], 0)
            status, _, err = self.command("--from", self.conninfo, "--to", store)
            self.assertEqual(status, 1)
            self.assertIn(why, err)
        self.assertEqual(len(self.sqlite_rows(directory, "users")), 10)
        self.refused("this is the predecessor's database", "--from", self.conninfo, "--to", self.conninfo)

    def test_in_the_order_of_time(self) -> None:
        directory = Path(self.mktemp())
        self.command("--from", self.conninfo, "--to", str(directory))
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            times = connection.execute("SELECT created_at FROM messages ORDER BY rowid").fetchall()
        self.assertEqual(times, sorted(times))

    def test_lists_begin_before_the_log_in_the_order_of_time(self) -> None:
        """So that whatever is sent from now on comes after it, and each has a place of its own."""
        directory = Path(self.mktemp())
        self.command("--from", self.conninfo, "--to", str(directory))
        self.in_place()
        for table in ("users", "messages"):
            expected = list(range(1 - 10, 1))
            in_place = self.rows(f"SELECT id, position FROM {table} ORDER BY created_at, position")
            self.assertEqual([position for _, position in in_place], expected, table)
            with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
                query = f"SELECT id, position FROM {table} ORDER BY created_at, position"
                self.assertEqual(connection.execute(query).fetchall(), in_place, table)

    def test_from_what_was_taken_over_in_place(self) -> None:
        self.in_place()
        self.refused(
            "this was taken over in place already", "--from", self.conninfo, "--to", self.new_database()
        )


class InterruptionTests(TakeoverCase):
    def test_at_every_statement(self) -> None:
        """The connection ends before the n-th statement: all is as it was; and at last nothing interrupts it."""
        before, counted, limit = self.content(), 0, 0

        def interruptible(method: Callable[..., Any]) -> Callable[..., Any]:
            def interrupted(cursor: Any, *rest: Any, **options: Any) -> Any:
                nonlocal counted
                counted += 1
                if counted == limit:
                    cursor.connection.close()
                return method(cursor, *rest, **options)

            return interrupted

        methods = ((psycopg.Cursor, "execute"), (psycopg.Cursor, "copy"), (psycopg.ServerCursor, "fetchmany"))
        for cursor, name in methods:
            self.patch(cursor, name, interruptible(getattr(cursor, name)))
        for n in count(1):
            limit, counted = n, 0
            try:
                takeover.take_over_in_place(self.conninfo, 0.0, lambda found: None, lambda line: None)
                break
            except StoreUnusable:
                limit = 0
                self.assertEqual(self.content(), before, f"interrupted at the statement {n}")
        self.assertGreater(n, 70)
        limit = 0
        self.assertEqual(self.rows("SELECT count(*) FROM users"), [(10,)])
        self.assertEqual(self.rows("SELECT count(*) FROM messages"), [(10,)])

    def more_messages(self) -> None:
        self.execute(
            "INSERT INTO messages (user_id, content, channel_id)"
            f" SELECT '{user_id(1)}', n::text, 'many' FROM generate_series(1, 20000) AS n"
        )

    def kill_at(self, progress: str, *arguments: str) -> None:
        """Start the command, and kill -9 it when it has printed the line."""
        command = subprocess.Popen(
            [sys.executable, "-m", "multiproto.move", "--from", self.conninfo, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert command.stderr is not None
        with command.stderr as lines:
            for line in lines:
                if line.startswith(progress):
                    os.kill(command.pid, signal.SIGKILL)
                    break
        self.assertEqual(command.wait(RESCUE), -signal.SIGKILL)

    def test_killed_in_place_and_started_again(self) -> None:
        self.more_messages()
        before = self.content()
        for progress in ("users: 10 of 10", "messages: 5,000 of", "messages: 15,000 of"):
            self.kill_at(progress, "--in-place")
            self.assertEqual(self.content(), before)
        self.assertEqual(self.in_place()[0], 0)
        self.assertEqual(self.rows("SELECT count(*), count(DISTINCT id) FROM messages"), [(20010, 20010)])

    def test_killed_on_the_way_to_a_file_and_started_again(self) -> None:
        self.more_messages()
        directory = Path(self.mktemp())
        for progress in ("users: 10 of 10", "messages: 15,000 of"):
            self.kill_at(progress, "--to", str(directory))
        self.assertEqual(self.command("--from", self.conninfo, "--to", str(directory))[0], 0)
        with closing(sqlite3.connect(directory / DATABASE_FILE)) as connection:
            (total,) = connection.execute("SELECT count(DISTINCT id) FROM messages").fetchone()
        self.assertEqual(total, 20010)

    def test_killed_while_it_is_undone(self) -> None:
        self.in_place()
        before = self.content()

        def interrupted(connection: Any, moved: SchemaObject, target: str) -> None:
            move_object(connection, moved, target)
            if moved.identity == "predecessor.users":
                connection.close()

        self.patch(takeover, "move_object", interrupted)
        self.assertEqual(self.command("--from", self.conninfo, "--undo")[0], 1)
        self.assertEqual(self.content(), before)
