"""Which migrations run, in what order, and what stops the start."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.kept_accounts import email_lookup
from multiproto.storage.errors import StoreUnusable
from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.checksums import fill_statement
from multiproto.storage.sqlite.connection import connect, fetch_all
from multiproto.storage.sqlite.migrate import migrate
from multiproto.storage.statements import load_statements, sql_directory

from .old_rows import (
    AUDIT_NUMBERS,
    AUDIT_WITHOUT_NUMBERS,
    EMAIL_KEYS,
    EMAIL_ROWS,
    EMAILS,
    OPERATOR_KEYS,
    POSITIONS,
    ROWS_WITHOUT_POSITIONS,
)

FIRST = """-- One table, and a trigger with semicolons inside.
CREATE TABLE one (a TEXT);
CREATE TABLE two (a TEXT);
CREATE TRIGGER copied AFTER INSERT ON one
BEGIN
    INSERT INTO two VALUES (new.a);
    INSERT INTO two VALUES (new.a);
END;
INSERT INTO one VALUES ('x')"""  # the last semicolon may be missing


class MigrationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.statements = load_statements(sql_directory("sqlite") / "queries")
        self.connection = self.connect()
        self.write("001_first.sql", FIRST)

    def connect(self) -> sqlite3.Connection:
        connection = connect(self.directory / "test.db", 10.0)
        self.addCleanup(connection.close)
        return connection

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def migrate(self, connection: sqlite3.Connection | None = None) -> None:
        migrate(
            connection or self.connection, load_migrations(self.directory), self.statements, 1_800_000_000.0
        )

    def had(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT name FROM migrations ORDER BY number")]

    def test_where_owners_were_is_known_from_their_sessions(self) -> None:
        """Those at addresses of IPv4, by the last time of each."""
        released = load_migrations(sql_directory("sqlite"))
        before = [each.name for each in released].index("004_known_networks.sql")
        migrate(self.connection, released[:before], self.statements, 0.0)
        self.connection.execute("INSERT INTO users VALUES ('ann', 'a', 'a', 'Ann', '', 1, '', '')")
        for id, created, used, address in (
            ("s1", "1", None, "192.0.2.1"),
            ("s2", "2", "5", "192.0.2.1"),
            ("s3", "3", None, "2001:db8::1"),
            ("s4", "4", None, None),
        ):
            self.connection.execute(
                "INSERT INTO sessions (id, user_id, created_at, expires_at, used_at, address)"
                " VALUES (?, 'ann', ?, '9', ?, ?)",
                (id, created, used, address),
            )
        migrate(self.connection, released, self.statements, 0.0)
        self.assertEqual(
            self.connection.execute("SELECT * FROM known_networks").fetchall(), [("ann", "192.0.2.1", "5")]
        )

    def test_each_runs_once_in_order_and_is_recorded(self) -> None:
        self.migrate()
        self.write("002_second.sql", "ALTER TABLE two ADD COLUMN b TEXT;")
        self.migrate()
        self.migrate()
        self.assertEqual(self.had(), ["001_first.sql", "002_second.sql"])
        self.assertEqual(self.connection.execute("SELECT a, b FROM two").fetchall(), [("x", None)] * 2)
        (row,) = self.connection.execute(
            "SELECT length(checksum), applied_at FROM migrations WHERE number = 1"
        )
        self.assertEqual(row, (64, "2027-01-15T08:00:00.000Z"))

    def test_one_that_fails_keeps_those_before_it_and_nothing_of_itself(self) -> None:
        self.write("002_second.sql", "CREATE TABLE three (a TEXT);\nCREATE TABLE one (a TEXT);\n")
        with self.assertRaisesRegex(
            StoreUnusable, "^migration 002_second.sql failed, nothing of it was kept: table one"
        ):
            self.migrate()
        self.assertEqual(self.had(), ["001_first.sql"])
        self.assertEqual(self.connection.execute("PRAGMA table_info(three)").fetchall(), [])

    def test_an_edited_one_stops_the_start(self) -> None:
        self.migrate()
        self.write("001_first.sql", FIRST + ";")
        with self.assertRaisesRegex(
            StoreUnusable, "^migration 001_first.sql is not the one .* put the released file back"
        ):
            self.migrate()

    def test_a_database_newer_than_the_code_stops_the_start(self) -> None:
        self.write("002_second.sql", "SELECT 1;")
        self.migrate()
        (self.directory / "002_second.sql").unlink()
        with self.assertRaisesRegex(
            StoreUnusable, "newer than this version: it has had 002_second.sql, .* 001_first.sql"
        ):
            self.migrate()

    def test_numbers_have_no_holes(self) -> None:
        self.write("003_third.sql", "SELECT 1;")
        with self.assertRaisesRegex(StoreUnusable, "not numbered 001, 002"):
            self.migrate()

    def test_of_those_who_start_together_one_migrates(self) -> None:
        for number in range(2, 10):
            self.write(f"{number:03}_more.sql", f"CREATE TABLE more{number} (a TEXT);")
        connections = [self.connect() for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(self.migrate, connections))
        self.assertEqual(len(self.had()), 9)

    def test_another_program_at_work_in_the_database_does_not_break_it(self) -> None:
        """What is not migrated is not opened; the lock is waited for, then refused."""
        other = self.connect()
        other.execute("BEGIN IMMEDIATE")
        self.connection.execute("PRAGMA busy_timeout = 1")
        with self.assertRaisesRegex(sqlite3.OperationalError, "locked"):
            self.migrate()
        other.execute("ROLLBACK")
        self.migrate()

    def test_a_session_of_before_is_listed_as_used_when_it_began(self) -> None:
        """From the first release's tables to ours."""
        ours = load_migrations(sql_directory("sqlite"))
        migrate(self.connection, ours[:1], self.statements, 1_800_000_000.0)
        then, later = "2026-11-22T19:21:04.531Z", "2026-11-29T19:21:04.531Z"
        self.connection.execute(
            "INSERT INTO users (id, email, email_key, name, password_hash, created_at, updated_at)"
            f" VALUES ('ada', 'a', 'a', 'Ada', '', '{then}', '{then}')"
        )
        self.connection.execute(f"INSERT INTO sessions VALUES ('s1', 'ada', '{then}', '{later}', NULL)")
        migrate(self.connection, ours, self.statements, 1_800_000_000.0)
        asked = {"user_id": "ada", "now": then, "limit": 9}
        rows = self.connection.execute(self.statements["sessions_open"], asked).fetchall()
        self.assertEqual(rows, [("s1", then, then, later, None, None)])


class PositionsTests(SynchronousTestCase):
    def test_rows_of_before_have_the_place_of_their_event(self) -> None:
        """Or one before the log, by their times, where it is pruned; setting it is no change of the row."""
        sql = sql_directory("sqlite")
        statements, migrations = load_statements(sql / "queries"), load_migrations(sql)
        connection = connect(Path(":memory:"), 0)
        self.addCleanup(connection.close)
        migrate(connection, migrations[:6], statements, 1_800_000_000.0)
        connection.executescript(ROWS_WITHOUT_POSITIONS)
        touched = "SELECT id, updated_at FROM users UNION ALL SELECT id, updated_at FROM messages ORDER BY 1"
        before = connection.execute(touched).fetchall()
        migrate(connection, migrations, statements, 1_800_000_000.0)
        for table, expected in POSITIONS.items():
            found = dict(connection.execute(f"SELECT id, position FROM {table}").fetchall())
            self.assertEqual(found, expected, table)
        self.assertEqual(connection.execute(touched).fetchall(), before)


class AuditNumbersTests(SynchronousTestCase):
    def test_records_of_before_are_numbered_by_their_times(self) -> None:
        sql = sql_directory("sqlite")
        statements, migrations = load_statements(sql / "queries"), load_migrations(sql)
        connection = connect(Path(":memory:"), 0)
        self.addCleanup(connection.close)
        migrate(connection, migrations[:7], statements, 1_800_000_000.0)
        connection.executescript(AUDIT_WITHOUT_NUMBERS)
        migrate(connection, migrations, statements, 1_800_000_000.0)
        connection.executescript(AUDIT_WITHOUT_NUMBERS.replace("'n", "'m"))
        found = connection.execute("SELECT id, number FROM audit").fetchall()
        self.assertEqual(dict(found), AUDIT_NUMBERS)


class EmailKeysTests(SynchronousTestCase):
    def test_addresses_of_before_get_the_keys_of_now(self) -> None:
        """Of accounts whose addresses are one now, the oldest gets it, and all others keep their own spelling."""
        sql = sql_directory("sqlite")
        statements, migrations = load_statements(sql / "queries"), load_migrations(sql)
        connection = connect(Path(":memory:"), 0)
        self.addCleanup(connection.close)
        migrate(connection, migrations[:10], statements, 1_800_000_000.0)
        connection.executescript(EMAIL_ROWS)
        connection.execute(fill_statement("users"))
        migrate(connection, migrations, statements, 1_800_000_000.0)
        found = connection.execute("SELECT id, email_key, version, updated_at FROM users").fetchall()
        self.assertEqual({id: (key, version) for id, key, version, _ in found}, EMAIL_KEYS)
        self.assertEqual({at for *_, at in found}, {"2026-01-01T00:00:00.000Z"})
        operators = connection.execute("SELECT email_key, user_id FROM operator_addresses").fetchall()
        self.assertEqual(dict(operators), OPERATOR_KEYS)
        for id, email, _ in EMAILS[:-1]:
            for row in fetch_all(connection, statements["user_by_email"], email_lookup(email)):
                self.assertEqual(row["id"], id)  # with checksums that are right


class FloorsTests(SynchronousTestCase):
    def test_a_namespace_that_was_ignored_begins_anew(self) -> None:
        """What the wider one pruned of it is no reason to promise that nothing is missing."""
        sql = sql_directory("sqlite")
        statements, migrations = load_statements(sql / "queries"), load_migrations(sql)
        connection = connect(Path(":memory:"), 0)
        self.addCleanup(connection.close)
        migrate(connection, migrations[:4], statements, 1_800_000_000.0)
        connection.execute("UPDATE head SET position = 9")
        connection.execute("INSERT INTO floors VALUES ('a.b', 1), ('a.**', 2), ('users.**', 3)")
        connection.execute(
            "INSERT INTO events (position, id, type, topics, subject, created_at, namespace)"
            " VALUES (9, 'x', 'publication', '[\"a.b\"]', 's', '2027-01-15T08:00:00.000Z', 'a.**')"
        )
        migrate(connection, migrations, statements, 1_800_000_000.0)
        floors = dict(connection.execute("SELECT namespace, position FROM floors").fetchall())
        self.assertEqual(floors, {"a.b": 9, "a.**": 2, "users.**": 3})
