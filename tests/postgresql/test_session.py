"""Whatever the defaults of the server, the database and the role are: each session sets what it relies on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from multiproto.core.transactions import Query
from multiproto.storage.copy import copy_to_postgresql
from multiproto.storage.postgresql.connection import StatementCall
from multiproto.storage.postgresql.connector import PostgresConnector
from multiproto.storage.postgresql.read_queue import read_session_settings
from multiproto.storage.postgresql.statements import PreparedStatement
from multiproto.storage.postgresql.writer import writer_session_settings
from multiproto.storage.sqlite.store import SqliteStore
from tests.storage.contract import StoreContract
from tests.storage.units import add_user, event, say, user_by_id

from .cases import DatabaseCase

HOSTILE_DEFAULTS = {
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "search_path": "elsewhere",
    "statement_timeout": "1s",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "10s",
    "datestyle": "German, DMY",
    "intervalstyle": "iso_8601",
    "timezone": "Asia/Kathmandu",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "array_nulls": "off",
    "row_security": "on",
    "extra_float_digits": "-15",
    "default_table_access_method": "heap",
    "session_replication_role": "replica",
    "transform_null_equals": "on",
    "exit_on_error": "on",
    "quote_all_identifiers": "on",
    "check_function_bodies": "off",
    "client_min_messages": "debug5",
    "jit": "on",
    "jit_above_cost": "0",
    "force_parallel_mode": "on",
    "plan_cache_mode": "force_generic_plan",
    "enable_indexscan": "off",
    "enable_hashagg": "off",
}

# What a session must have then.
NEEDED = {
    "synchronous_commit": "on",
    "search_path": "elsewhere",
    "idle_session_timeout": "0",
    "DateStyle": "ISO, YMD",
    "TimeZone": "UTC",
    "client_encoding": "UTF8",
    "session_replication_role": "origin",
    "row_security": "off",
    "lock_timeout": "0",
    "transform_null_equals": "off",
}


class HostileCase(DatabaseCase):
    def setUp(self) -> Deferred[None] | None:
        super().setUp()
        self.execute("CREATE SCHEMA elsewhere")
        self.set_defaults(HOSTILE_DEFAULTS)
        return None

    def execute(self, *commands: str) -> list[Any]:
        """The rows of the last one."""
        lenient = make_conninfo(
            self.conninfo, options="-cdefault_transaction_read_only=off -cstatement_timeout=0"
        )
        with psycopg.connect(lenient, autocommit=True) as connection:
            for command in commands:
                cursor = connection.execute(command.encode())
            return cursor.fetchall() if cursor.description else []

    def set_defaults(self, defaults: dict[str, str]) -> None:
        """Of this database, for new sessions."""
        name = self.conninfo.rpartition("/")[2]
        self.execute(*(f"ALTER DATABASE {name} SET {each} = {_value(defaults[each])}" for each in defaults))

    async def settings_of(self, commands: tuple[bytes, ...], *names: str) -> dict[str, str]:
        """What a session that was set up with `commands` has."""
        statement = PreparedStatement("looking", b"SELECT name, setting FROM pg_settings")
        connector = PostgresConnector(self.conninfo, reactor, [statement], commands, 60)
        connection = await connector.connect(lambda lost: None)
        (found,) = await connection.execute([StatementCall(statement)])
        connection.abort()
        return {row["name"]: row["setting"] for row in found.rows if row["name"] in names}


def _value(value: str) -> str:
    """A list stays one."""
    return ", ".join(f"'{each.strip()}'" for each in value.split(","))


class ContractTests(StoreContract, HostileCase):
    """Migrations and all that `StoreContract` says, where every default is hostile."""

    def setUp(self) -> Deferred[None]:
        super().setUp()
        self.store = self.new_store()
        return self.store.startService()


class SettingsTests(HostileCase):
    async def test_each_session_has_what_it_needs(self) -> None:
        for commands in (read_session_settings(5, "elsewhere"), writer_session_settings("elsewhere")):
            self.assertEqual(await self.settings_of(commands, *NEEDED), NEEDED)

    async def test_a_commit_is_never_less_durable_than_the_default(self) -> None:
        for default, found in (
            ("off", "on"),
            ("local", "on"),
            ("remote_write", "on"),
            ("on", "on"),
            ("remote_apply", "remote_apply"),
        ):
            self.set_defaults({"synchronous_commit": default})
            self.assertEqual(
                await self.settings_of(writer_session_settings("public"), "synchronous_commit"),
                {"synchronous_commit": found},
                default,
            )

    async def test_first_starts_at_once_are_all_ready(self) -> None:
        for _ in range(3):
            self.execute("DROP SCHEMA elsewhere CASCADE", "CREATE SCHEMA elsewhere")
            stores = [self.new_store() for _ in range(4)]
            await gatherResults([deferToThread(store.open) for store in stores])
            await gatherResults([store.startService() for store in stores])
            await gatherResults([store.commit(say(event(f"e{n}", "x"))) for n, store in enumerate(stores)])
            await gatherResults([store.stopService() for store in stores])

    async def test_the_defaults_of_a_role(self) -> None:
        self.execute(
            "DROP ROLE IF EXISTS limited",
            "CREATE ROLE limited LOGIN PASSWORD 'limited'",
            "GRANT ALL ON SCHEMA elsewhere TO limited",
            *(
                f"ALTER ROLE limited SET {name} = {_value(value)}"
                for name, value in HOSTILE_DEFAULTS.items()
                if name != "session_replication_role"
            ),
        )
        self.execute(f"ALTER DATABASE {self.conninfo.rpartition('/')[2]} RESET ALL")
        self.addCleanup(self.execute, "DROP OWNED BY limited", "DROP ROLE limited")
        store = await self.make_store(make_conninfo(self.conninfo, user="limited", password="limited"))
        await store.commit(add_user("ada", 0, event("e1", "ada")))
        self.assertEqual((await store.read(user_by_id("ada"))).results[0][0]["created_at"][-1], "Z")
        await store.stopService()

    async def test_foreign_keys_that_a_role_cannot_switch_on_stop_the_start(self) -> None:
        self.execute("DROP ROLE IF EXISTS unable", "CREATE ROLE unable LOGIN PASSWORD 'unable'")
        self.addCleanup(self.execute, "DROP ROLE unable")
        store = self.new_store(make_conninfo(self.conninfo, user="unable", password="unable"))
        error = await self.assertFailure(deferToThread(store.open), Exception)
        self.assertIn("session_replication_role", str(error))

    async def test_moving_to_it(self) -> None:
        directory = Path(self.mktemp())
        source = SqliteStore(directory, reactor, reactor, self._observe)
        await source.startService()
        await source.commit(add_user("ada", 0, event("e1", "ada", name="Ännchen \\ 🦊")))
        await source.stopService()
        await deferToThread(copy_to_postgresql, directory, self.conninfo, 9.0, lambda line: None)
        store = await self.make_store()
        (entry,) = await store.read_after(0, 9)
        self.assertEqual(entry.event.content, {"name": "Ännchen \\ 🦊"})


class SearchPathTests(HostileCase):
    """The tables are found where they are."""

    def setUp(self) -> Deferred[None] | None:
        super().setUp()
        self.execute(f"ALTER DATABASE {self.conninfo.rpartition('/')[2]} RESET ALL")
        return None

    async def use(self, conninfo: str | None = None) -> int:
        """How many users there are, after one more."""
        store = await self.make_store(conninfo)
        await store.commit(add_user(f"u{id(store)}"))
        (row,) = (await store.read(Query("users_count"))).results[0]
        await store.stopService()
        return int(row["total"])

    async def test_a_default_that_was_changed_hides_nothing(self) -> None:
        self.assertEqual(await self.use(), 1)
        for path in ("elsewhere", "nowhere", "elsewhere, public", ""):
            self.set_defaults({"search_path": path})
            before = await self.use()
        self.assertEqual(before, 5)

    async def test_a_path_that_leads_nowhere_at_the_first_start(self) -> None:
        self.set_defaults({"search_path": "nowhere"})
        self.assertEqual(await self.use(), 1)
        self.set_defaults({"search_path": "public"})
        self.assertEqual(await self.use(), 2)

    async def test_a_path_of_the_address_itself_is_obeyed(self) -> None:
        """Two deployments in one database."""
        self.assertEqual(await self.use(), 1)
        there = make_conninfo(self.conninfo, options="-csearch_path=elsewhere")
        self.assertEqual([await self.use(there), await self.use(there), await self.use()], [1, 2, 2])
