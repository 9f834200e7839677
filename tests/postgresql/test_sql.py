"""The SQL for PostgreSQL beside that for SQLite: the same statements, and a schema that teaches and is quick."""

from __future__ import annotations

import re
import sqlite3
from typing import Any, Mapping

import psycopg
from psycopg import pq
from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.migrations import load_migrations
from multiproto.storage.postgresql.migrate import migrate
from multiproto.storage.postgresql.statements import PreparedStatement, to_prepared_statements
from multiproto.storage.sqlite.checksums import CHECKSUM, COVERED_COLUMNS, add_checksum_function
from multiproto.storage.statements import load_statements, sql_directory
from tests.servers import needs, postgresql

from ..storage.old_rows import (
    AUDIT_NUMBERS,
    AUDIT_WITHOUT_NUMBERS,
    EMAIL_KEYS,
    EMAIL_ROWS,
    OPERATOR_KEYS,
    POSITIONS,
    ROWS_WITHOUT_POSITIONS,
)

POSTGRESQL, SQLITE = sql_directory("postgresql"), sql_directory("sqlite")

# Where the engines differ on purpose.
OURS = {  # what only several writers need
    *("begin", "commit", "rollback", "unit_begin", "unit_undo", "unit_end"),
    *("log_lock", "log_notify", "head_add", "head_locked", "head_mark", "heads_among", "heads_prune"),
    *("instance_seen", "instance_gone", "instances_forget", "instances_slowest"),
}
MORE_PARAMETERS = {
    "log_page": {"text", "most"},  # a page's size is bounded where it is read
    "log_head": {"known"},  # the database may be replaced under running instances
    "term_begin": {"after"},
}
MORE_COLUMNS = {
    "terms_all": {"number", "copy", "parted"},
    "log_head": {"number", "mark", "term", "known"},
}  # others write, too

TIME = re.compile(r"\b(at|now|before|expired|since)\b|_at$")
INTEGER = {
    "age",
    "bound",
    "limit",
    "offset",
    "position",
    "low",
    "high",
    "most",
    "text",
    "n",
    "upto",
    "known",
    "after",
    "version",
    "times",
    "only",
}


def sample(name: str) -> str:
    """A value that a parameter of this name may have, as text."""
    if name == "number":
        return "9"  # the first head is there
    if name in INTEGER:
        return "1"
    if name in {"channels", "email_keys", "ids", "user_ids", "namespaces"}:
        return '["a", "b"]'
    if name == "numbers":
        return "[1, 2]"
    return "2026-11-22T19:21:04.531Z" if TIME.search(name) else "a"


def parameters(text: str) -> set[str]:
    return set(re.findall(r"(?<!:):([a-z_]+)", text))


class NamesTests(SynchronousTestCase):
    def test_both_engines_have_the_same_statements_with_the_same_parameters(self) -> None:
        here = {
            name: set(statement.parameter_names) - MORE_PARAMETERS.get(name, set())
            for name, statement in to_prepared_statements(load_statements(POSTGRESQL / "queries")).items()
            if name not in OURS
        }
        there = {name: parameters(text) for name, text in load_statements(SQLITE / "queries").items()}
        self.assertEqual(there.pop("log_move_head"), {"position"})
        self.assertEqual(here, there)


@needs("postgresql")
class SchemaCase(SynchronousTestCase):
    """A fresh database that has had all migrations, or those up to `newest`."""

    newest: int | None = None

    def setUp(self) -> None:
        server = postgresql()
        self.url = server.new_database()
        self.addCleanup(server.drop, self.url)
        self.connection = psycopg.connect(self.url, autocommit=True)
        self.addCleanup(self.connection.close)
        self.statements = load_statements(POSTGRESQL / "queries")
        self.connection.execute(self.statements["migrations_begin"].encode())
        for migration in load_migrations(POSTGRESQL)[: self.newest]:
            self.connection.execute(migration.text.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.connection.execute(query.encode()).fetchall()


class StatementsTests(SchemaCase):
    def prepare(self, statement: PreparedStatement) -> None:
        result = self.connection.pgconn.prepare(statement.name.encode(), statement.text)
        self.assertEqual(
            result.status, pq.ExecStatus.COMMAND_OK, f"{statement.name}: {result.error_message!r}"
        )

    def columns(self, name: str) -> list[str]:
        result = self.connection.pgconn.describe_prepared(name.encode())
        return [(result.fname(n) or b"").decode() for n in range(result.nfields)]

    def run_all(self, statements: Mapping[str, PreparedStatement]) -> dict[str, str]:
        """What went wrong, by statement; each in a transaction that is undone."""
        wrong = {}
        for name, statement in statements.items():
            if name in {"begin", "commit", "rollback"}:
                continue
            values = [sample(param).encode() for param in statement.parameter_names]
            self.connection.execute("BEGIN; SAVEPOINT unit")
            result = self.connection.pgconn.exec_prepared(name.encode(), values)
            if result.status == pq.ExecStatus.FATAL_ERROR:
                wrong[name] = result.error_message.decode()
            self.connection.execute("ROLLBACK")
        return wrong

    def test_every_statement_is_prepared_and_runs_with_parameters_sent_as_text(self) -> None:
        statements = to_prepared_statements(self.statements)
        for statement in statements.values():
            self.prepare(statement)
        wrong = self.run_all(statements)
        # Of a user or message that is not there: the constraint that tells so.
        kept = {"key_claim", "message_add", "operator_add", "email_outdated", "closed_account_add"}
        self.assertEqual({name for name, why in wrong.items() if "foreign key" in why}, kept, wrong)
        self.assertEqual(set(wrong), kept, wrong)

    def test_both_engines_give_the_same_columns(self) -> None:
        embedded = sqlite3.connect(":memory:")
        self.addCleanup(embedded.close)
        add_checksum_function(embedded)
        sqlite = load_statements(SQLITE / "queries")
        embedded.execute(sqlite["migrations_begin"])
        for migration in load_migrations(SQLITE):
            embedded.executescript(migration.text)
        for name, statement in to_prepared_statements(self.statements).items():
            if name in OURS:
                continue
            self.prepare(statement)
            values = {param: sample(param) for param in parameters(sqlite[name])}
            found = embedded.execute(sqlite[name], values).description or ()
            more = MORE_COLUMNS.get(name, set())
            here = [column for column in self.columns(name) if column not in more]
            # Which whoever reads them takes out again; PostgreSQL has checksums of its own.
            there = [column[0] for column in found if not column[0].endswith(CHECKSUM)]
            self.assertEqual(here, there, name)


class SchemaTests(SchemaCase):
    def test_both_schemas_have_the_same_tables_and_columns(self) -> None:
        embedded = sqlite3.connect(":memory:")
        self.addCleanup(embedded.close)
        for migration in load_migrations(SQLITE):
            embedded.executescript(migration.text)
        theirs = embedded.execute(
            'SELECT t.name, c.name, c.pk > 0 OR c."notnull" FROM sqlite_schema AS t, pragma_table_info(t.name) AS c'
            " WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
        ).fetchall()
        ours = self.rows(
            "SELECT table_name::text, column_name::text, (is_nullable = 'NO')::int FROM information_schema.columns"
            " JOIN information_schema.tables USING (table_schema, table_name)"
            " WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND table_name NOT IN ('migrations', 'instances')"  # there is one of those
        )
        # The log's head: one row that each transaction changes, or one for each transaction.
        head = {("head", "one", 1), ("head", "position", 1)}
        checksums = {(table, name, 0) for table, covered in COVERED_COLUMNS.items() for name in covered}
        self.assertEqual(set(theirs) - set(ours), head | checksums)
        heads = {
            ("floors", "is_kept", 1),
            ("terms", "copy", 0),
            ("terms", "parted", 1),
            ("heads", "number", 1),
            ("heads", "position", 1),
            ("heads", "mark", 1),
        }
        self.assertEqual(set(ours) - set(theirs), heads)

    def test_every_foreign_key_has_an_index_that_begins_with_it(self) -> None:
        keys = self.rows("SELECT conrelid, conkey[1], conname FROM pg_constraint WHERE contype = 'f'")
        self.assertEqual(len(keys), 11)
        lacking = self.rows(
            "SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT EXISTS (SELECT FROM pg_index"
            " WHERE indrelid = conrelid AND indkey[0] = conkey[1] AND indpred IS NULL)"
        )
        self.assertEqual(lacking, [])

    def test_instances_of_an_older_version_are_told_so(self) -> None:
        """By what they execute first: nothing of theirs is written behind the back of the others."""
        for theirs in (
            "SELECT position, pg_current_xact_id()::text AS transaction FROM head FOR UPDATE",
            "SELECT position, (SELECT max(number) FROM terms) AS term FROM head",
            "UPDATE head SET position = 3",
        ):
            with self.assertRaisesRegex(psycopg.errors.CannotConnectNow, "older than its database: stop it"):
                self.connection.execute(theirs.encode())

    def test_every_table_and_column_says_what_it_means(self) -> None:
        silent = self.rows(
            "SELECT relname, attname FROM pg_class"
            " JOIN pg_attribute ON attrelid = pg_class.oid AND attnum >= 0 AND NOT attisdropped"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND col_description(pg_class.oid, attnum) IS NULL"
        )
        self.assertEqual(silent, [])
        silent = self.rows(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
            " AND obj_description(oid, 'pg_class') IS NULL"
        )
        self.assertEqual(silent, [])

    def test_every_text_is_compared_byte_by_byte(self) -> None:
        """As SQLite does: an id of upper case comes before one of lower case on both."""
        other = self.rows(
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE"
            " table_schema = 'public' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
        )
        self.assertEqual(other, [])

    def test_every_time_has_whole_milliseconds(self) -> None:
        finer = self.rows(
            "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE"
            " table_schema = 'public' AND data_type LIKE 'timestamp%'"
            " AND (data_type <> 'timestamp with time zone' OR datetime_precision <> 3)"
        )
        self.assertEqual(finer, [])


class PositionsTests(SchemaCase):
    newest = 6

    def test_rows_of_before_have_the_place_of_their_event(self) -> None:
        """Or one before the log, by their times, where it is pruned; setting it is no change of the row."""
        touched = "SELECT id, updated_at FROM users UNION ALL SELECT id, updated_at FROM messages ORDER BY 1"
        self.connection.execute(ROWS_WITHOUT_POSITIONS.encode())
        before = self.rows(touched)
        for migration in load_migrations(POSTGRESQL)[self.newest :]:
            self.connection.execute(migration.text.encode())
        for table, expected in POSITIONS.items():
            self.assertEqual(dict(self.rows(f"SELECT id, position FROM {table}")), expected, table)
        self.assertEqual(self.rows(touched), before)


class AuditNumbersTests(SchemaCase):
    newest = 7

    def test_records_of_before_are_numbered_by_their_times(self) -> None:
        self.connection.execute(AUDIT_WITHOUT_NUMBERS.encode())
        for migration in load_migrations(POSTGRESQL)[self.newest :]:
            self.connection.execute(migration.text.encode())
        self.connection.execute(AUDIT_WITHOUT_NUMBERS.replace("'n", "'m").encode())
        self.assertEqual(dict(self.rows("SELECT id, number FROM audit")), AUDIT_NUMBERS)


class EmailKeysTests(SchemaCase):
    newest = 0

    def test_addresses_of_before_get_the_keys_of_now(self) -> None:
        """Of accounts whose addresses are one now, the oldest gets it, and all others keep their own spelling."""
        for migration in load_migrations(POSTGRESQL)[:13]:
            self.connection.execute(migration.text.encode())
            values = [f"'{each}'" for each in migration.record("2026-01-01T00:00:00.000Z").values()]
            self.connection.execute(f"INSERT INTO migrations VALUES ({', '.join(values)})".encode())
        self.connection.execute(EMAIL_ROWS.encode())
        migrate(self.url, POSTGRESQL, self.statements, 0.0, durable=False)
        found = self.rows("SELECT id, email_key, version, updated_at = created_at FROM users")
        self.assertEqual({id: (key, version) for id, key, version, _ in found}, EMAIL_KEYS)
        self.assertTrue(all(is_untouched for *_, is_untouched in found))
        self.assertEqual(dict(self.rows("SELECT email_key, user_id FROM operator_addresses")), OPERATOR_KEYS)


class TouchedTests(SchemaCase):
    """Who changes a row by another hand need not think of `updated_at` and the version."""

    OLD = "2020-01-01 00:00:00+00"

    def setUp(self) -> None:
        super().setUp()
        self.rows(
            "INSERT INTO users (id, email, email_key, name, password_hash, created_at, updated_at, position)"
            f" VALUES ('ada', 'a', 'a', 'Ada', 'x', '{self.OLD}', '{self.OLD}', 1) RETURNING id"
        )
        self.rows(
            "INSERT INTO messages (id, user_id, content, created_at, updated_at, position)"
            f" VALUES ('m', 'ada', 'hello', '{self.OLD}', '{self.OLD}', 2) RETURNING id"
        )

    def test_by_another_hand_both_are_set(self) -> None:
        seen = "version, updated_at > now() - interval '1 minute', updated_at = updated_at::timestamptz(3)"
        self.assertEqual(self.rows(f"UPDATE users SET name = 'A' RETURNING {seen}"), [(2, True, True)])
        self.assertEqual(self.rows(f"UPDATE users SET name = 'B' RETURNING {seen}"), [(3, True, True)])
        seen = seen.removeprefix("version, ")
        self.assertEqual(self.rows(f"UPDATE messages SET content = 'bye' RETURNING {seen}"), [(True, True)])

    def test_what_the_server_sets_is_left_as_it_is(self) -> None:
        (row,) = self.rows(
            "UPDATE users SET name = 'A', version = version + 1, updated_at = '2020-01-02 00:00:00.1234+00'"
            " RETURNING version, to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD US')"
        )
        self.assertEqual(row, (2, "2020-01-02 123000"))
