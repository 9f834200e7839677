"""How named statements are read, where they are found, and how SQLite would run each of ours."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.migrations import load_migrations
from multiproto.storage.sqlite.checksums import add_checksum_function
from multiproto.storage.statements import BadStatementFile, load_statements, parse_statements, sql_directory

GOOD = """-- All about users.

-- name: user_by_id
-- One user.
-- Or none.
SELECT id -- the only column
FROM users
WHERE id = :id;

-- name: user_drop
-- Away.
DELETE FROM users WHERE id = :id;
"""


class ParseTests(SynchronousTestCase):
    def test_each_name_has_its_statement_without_the_comments_above(self) -> None:
        self.assertEqual(
            parse_statements(GOOD, "users.sql"),
            {
                "user_by_id": "SELECT id -- the only column\nFROM users\nWHERE id = :id;",
                "user_drop": "DELETE FROM users WHERE id = :id;",
            },
        )

    def test_a_mirror_is_read_in_the_other_direction(self) -> None:
        text = "-- name: a\n-- mirror: b\n-- M.\nSELECT n FROM t WHERE n < :bound AND 1 < 2 ORDER BY n DESC LIMIT 1;"
        self.assertEqual(
            parse_statements(text, "t.sql"),
            {
                "a": "SELECT n FROM t WHERE n < :bound AND 1 < 2 ORDER BY n DESC LIMIT 1;",
                "b": "SELECT n FROM t WHERE n > :bound AND 1 < 2 ORDER BY n ASC LIMIT 1;",
            },
        )

    def test_what_is_not_written_as_it_should_be_is_named(self) -> None:
        for text, complaint in (
            ("SELECT 1;\n" + GOOD, "before the first name"),
            (GOOD + GOOD, "named before"),
            ("-- name: two words\n-- M.\nSELECT 1;", "is no name"),
            ("-- name: a\nSELECT 1;", "says nothing of its meaning"),
            ("-- name: a\n-- M.\nSELECT 1; SELECT 2;", "not one statement"),
            ("-- name: a\n-- M.\nSELECT 1", "not one statement"),
            ("-- name: a\n-- M.\n", "not one statement"),
            ("-- name: a\n-- mirror: b\nSELECT 1;", "says nothing of its meaning"),
            ("-- name: a\n-- mirror: b c\n-- M.\nSELECT 1;", "is no name"),
            ("-- name: a\n-- mirror: a\n-- M.\nSELECT 1 < :bound;", "named before"),
            ("-- name: a\n-- mirror: b\n-- M.\nSELECT 1;", "no < :bound and no DESC"),
        ):
            with self.assertRaisesRegex(BadStatementFile, f"^users.sql: .*{complaint}"):
                parse_statements(text, "users.sql")

    def test_a_name_comes_once_in_all_files(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "a.sql").write_text(GOOD)
        (directory / "b.sql").write_text(GOOD)
        with self.assertRaisesRegex(BadStatementFile, "^b.sql: user_by_id has been named before"):
            load_statements(directory)


class PlaceTests(SynchronousTestCase):
    def test_the_sql_is_inside_an_installed_package_or_beside_it_in_a_checkout(self) -> None:
        package = Path(self.mktemp()) / "multiproto"
        self.assertEqual(sql_directory("sqlite", package), package.parent / "sql" / "sqlite")
        (package / "sql" / "sqlite").mkdir(parents=True)
        self.assertEqual(sql_directory("sqlite", package), package / "sql" / "sqlite")

    def test_this_checkout_has_it(self) -> None:
        self.assertTrue((sql_directory("sqlite") / "001_initial.sql").exists())


class PlanTests(SynchronousTestCase):
    """What SQLite plans for our statements; positions, not rows, decide the cost of a list."""

    def setUp(self) -> None:
        self.statements = load_statements(sql_directory("sqlite") / "queries")
        self.connection = sqlite3.connect(":memory:")
        self.addCleanup(self.connection.close)
        add_checksum_function(self.connection)
        self.connection.execute(self.statements["migrations_begin"])
        for migration in load_migrations(sql_directory("sqlite")):
            self.connection.executescript(migration.text)

    def plan(self, name: str) -> list[str]:
        statement = self.statements[name]
        params = dict.fromkeys(re.findall(r":(\w+)", statement), "[]")
        return [row[3] for row in self.connection.execute(f"EXPLAIN QUERY PLAN {statement}", params)]

    def test_no_statement_reads_a_whole_table_where_an_index_can_serve(self) -> None:
        """But for tables of one row or few, and lists that an index gives in their order."""
        small = {
            "head",
            "terms",
            "floors",
            "migrations",
            *("operators", "operator_addresses"),
            *("closed", "closed_accounts", "messages_of_closed_accounts", "outdated_emails"),
            "CONSTANT",
            "author",
            "channel",
            "json_each",
            *(f"(subquery-{number})" for number in range(1, 10)),  # as long as a page, or a list given
        }
        ordered = {"users_count": "", "users_not_ascii": "users_newest"}  # the latter once, by a migration
        ordered |= {"audit_count": ""}
        for name in sorted(self.statements):
            for line in self.plan(name):
                if line.startswith("SCAN") and line.split()[1] not in small:
                    self.assertIn(name, ordered, line)
                    self.assertIn(f"INDEX {ordered[name]}", line)

    def test_fault_25_no_list_is_sorted_to_give_one_page(self) -> None:
        """The predecessor's fault: OFFSET with unstable order; ours comes from an index, and only as far as asked.

        It begins in the index at the cursor, however far from the newest row, in both directions.
        docs/predecessor-faults.md#fault-25
        """
        for name, index in (
            ("users_page{}", "users_newest (position{}?)"),
            ("messages_page{}", "messages_newest (position{}?)"),
            ("messages_page{}_but_in", "messages_newest (position{}?)"),
            ("messages_page{}_by_user", "messages_by_user (user_id=? AND position{}?)"),
            ("messages_page{}_by_user_narrowed", "messages_by_user (user_id=? AND position{}?)"),
            ("messages_page{}_by_channel", "messages_by_channel (channel_id=? AND position{}?)"),
            (
                "messages_page{}_by_user_and_channel",
                "messages_by_user_and_channel (user_id=? AND channel_id=? AND position{}?)",
            ),
            ("messages_page{}_only_in", "messages_by_channel (channel_id=? AND position{}?)"),
            ("messages_page{}_only_in", "messages_by_user (user_id=? AND position{}?)"),
            ("messages_page{}_only_in", "messages_by_recipient (recipient_id=? AND position{}?)"),
            ("audit_page{}", "INTEGER PRIMARY KEY (rowid{}?)"),
            ("audit_page{}_by_action", "audit_by_action (action=? AND number{}?)"),
            ("audit_page{}_by_subject", "audit_by_subject (subject=? AND number{}?)"),
            ("messages_of_users_page{}", "messages_by_user (user_id=? AND position{}?)"),
            ("messages_of_users_page{}_narrowed", "messages_by_user (user_id=? AND position{}?)"),
        ):
            for direction, comparison in (("", "<"), ("_after", ">")):
                plan = " ".join(self.plan(name.format(direction)))
                self.assertIn(index.format(comparison), plan, name)
                if "only_in" not in name and "of_users" not in name:  # which merge several such pages
                    self.assertNotIn("TEMP B-TREE", plan, name)

    def test_resuming_and_pruning_walk_only_what_they_ask_for(self) -> None:
        for name, walk in (
            ("log_stretch", "events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            ("log_page", "events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            ("event_position", "events USING COVERING INDEX sqlite_autoindex_events_1 (id=?)"),
            ("log_prune", "events USING INDEX events_by_namespace (namespace=? AND position<?)"),
            ("log_expired", "events USING COVERING INDEX events_by_age (namespace=? AND created_at<?)"),
            (
                "log_expired_upto",
                "events USING COVERING INDEX events_by_namespace (namespace=? AND position<?)",
            ),
            ("log_expired_upto", "events USING INDEX events_by_namespace (namespace=? AND position<?)"),
            (
                "log_oldest",
                "events USING COVERING INDEX events_by_age (namespace=? AND created_at>?)",
            ),
            (
                "log_young",
                "events USING COVERING INDEX events_by_age (namespace=? AND created_at>? AND created_at<?)",
            ),
            ("sessions_due", "sessions USING INDEX sessions_ended (<expr><?)"),
            ("refresh_tokens_due", "session USING INDEX sessions_ended (<expr><?)"),
            ("log_surplus", "events USING COVERING INDEX events_by_namespace (namespace=?)"),
            ("log_nth", "events USING COVERING INDEX events_by_namespace (namespace=?)"),
            ("subject_batch_end", "events USING COVERING INDEX events_by_subject (subject=? AND rowid>?)"),
            (
                "log_forget_email",
                "events USING INDEX events_by_subject (subject=? AND rowid>? AND rowid<?)",
            ),
            (
                "log_blank_about",
                "events USING COVERING INDEX events_by_subject (subject=? AND rowid>? AND rowid<?)",
            ),
            ("messages_of_account", "messages USING INDEX messages_by_user (user_id=?)"),
            ("messages_of_account", "messages USING INDEX messages_by_recipient (recipient_id=?)"),
            ("account_keys_drop", "keys USING COVERING INDEX sqlite_autoindex_keys_1 (user_id=?)"),
            ("account_refresh_tokens_drop", "sessions USING INDEX sessions_by_user (user_id=?)"),
            ("account_sessions_drop", "sessions USING INDEX sessions_by_user (user_id=?)"),
            ("sessions_revoke_others", "sessions USING INDEX sessions_unrevoked (user_id=?)"),
            ("session_add", "sessions USING INDEX sessions_unrevoked (user_id=?)"),
            ("floor_raise", "floors USING INDEX sqlite_autoindex_floors_1 (namespace=?)"),
            ("key_of", "keys USING INDEX sqlite_autoindex_keys_1 (user_id=? AND key=?)"),
            ("key_of", "events USING INDEX sqlite_autoindex_events_1 (id=?) LEFT-JOIN"),
            ("keys_prune", "keys USING INDEX sqlite_autoindex_keys_1 (user_id=? AND key=?)"),
            ("keys_prune", "keys USING INDEX keys_oldest (created_at<?)"),
            ("sessions_prune", "sessions USING INDEX sessions_ended (<expr><?)"),
            ("refresh_tokens_prune", "session USING INDEX sessions_ended (<expr><?)"),
            ("audit_prune", "audit USING COVERING INDEX audit_by_age (at<?)"),
            ("known_networks_prune", "known_networks USING INDEX known_networks_by_age (seen_at<?)"),
            (
                "network_known",
                "known USING INDEX sqlite_autoindex_known_networks_1 (user_id=? AND network=?)",
            ),
            ("credential_by_id", "credentials USING INDEX sqlite_autoindex_credentials_1 (id=?)"),
            ("credential_add", "credentials USING COVERING INDEX credentials_by_user (user_id=?)"),
        ):
            plan = self.plan(name)
            self.assertIn(f"SEARCH {walk}", plan, name)
            self.assertNotIn("TEMP B-TREE", " ".join(plan), name)

    def test_every_foreign_key_has_an_index(self) -> None:
        tables = [
            row[0] for row in self.connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        ]
        keys = 0
        for table in tables:
            for key in self.connection.execute(f"PRAGMA foreign_key_list({table})"):
                keys += 1
                (plan,) = self.connection.execute(
                    f"EXPLAIN QUERY PLAN SELECT 1 FROM {table} WHERE {key[3]} = ?", "x"
                )
                self.assertIn(f"({key[3]}=?)", plan[3], table)
        self.assertEqual(keys, 11)

    def test_every_column_says_what_it_means(self) -> None:
        for (schema,) in self.connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'"):
            for line in schema.splitlines()[1:-1]:
                if not line.lstrip().startswith("PRIMARY KEY"):
                    self.assertIn(" -- ", line)

    def test_a_change_by_another_hand_is_noticed_too(self) -> None:
        """`updated_at` and the version, by which the server finds that it was overtaken; the checksums are void."""
        old = "2020-01-01T00:00:00.000Z"
        self.connection.execute(
            f"INSERT INTO users VALUES ('ada', 'ada@x.org', 'ada@x.org', 'Ada', '', 1, '{old}', '{old}', 1, 3, 4)"
        )
        self.connection.execute(
            f"INSERT INTO messages VALUES ('m', 'ada', 'hello', 'c', NULL, '{old}', '{old}', 2, 5)"
        )
        self.connection.execute("UPDATE users SET name = 'Other'")
        self.connection.execute("UPDATE messages SET content = 'other'")
        changed = "SELECT users.updated_at, messages.updated_at, version FROM users, messages"
        ((user, message, version),) = self.connection.execute(changed)
        self.assertRegex(user, r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertTrue(user > old and message > old)
        self.assertEqual(version, 2)
        checksums = "SELECT users.crc32, private_crc32, messages.crc32 FROM users, messages"
        self.assertEqual(self.connection.execute(checksums).fetchall(), [(None, None, None)])
        self.connection.execute("UPDATE users SET crc32 = 3, private_crc32 = 4")  # nothing but checksums
        self.connection.execute("UPDATE users SET version = 9, updated_at = 'then'")
        self.assertEqual(
            self.connection.execute("SELECT updated_at, version, crc32, private_crc32 FROM users").fetchall(),
            [("then", 9, None, None)],
        )
