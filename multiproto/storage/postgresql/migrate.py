"""Checks the server and brings the database up to date before anybody is served.  Blocks."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import psycopg
from psycopg.rows import dict_row
from twisted.logger import Logger

from ...base.one_line import one_line
from ...base.timestamps import format_timestamp
from ...core.transactions import Row
from .. import email_keys
from ..errors import StoreUnusable
from ..migrations import load_migrations, pending_migrations
from ..statements import Statements
from .connector import connect_blocking
from .errors import DatabaseUnreachable
from .predecessor import is_predecessor
from .servers import NameResolver
from .session import FIND_SCHEMA, session_settings
from .statements import to_prepared_statements
from .types import encode_parameter

MIN_VERSION = 13_00_00  # the first PostgreSQL with `pg_xact_status` of 64-bit transaction ids
ADVISORY_LOCK_ID = 0x6D756C7469  # "multi"; of instances that start at the same time, one migrates
LOCK_TIMEOUT = 60.0  # seconds to wait for the other one


def migrate(conninfo: str, sql: Path, statements: Statements, now: float, durable: bool) -> str:
    """Apply all pending migrations and return the schema of the tables.  Raises `StoreUnusable`.

    With `durable`, a server that does not sync is refused.
    They are one transaction, behind an advisory lock: an instance that starts at the same time waits for it.
    """
    with schema_transaction(conninfo, durable) as (connection, schema):
        if is_predecessor(connection):
            raise StoreUnusable(
                "this is the predecessor's database, which is not touched until you say so: stop the predecessor, "
                "then run python -m multiproto.move --from ADDRESS --in-place (first with --dry-run); "
                "docs/from-the-predecessor.md"
            )
        _warn_without_checksums(connection)
        apply_pending_migrations(connection, sql, statements, now)
        return schema


@contextmanager
def schema_transaction(conninfo: str, durable: bool) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    """A transaction of one process at a time, and the schema of the tables, which is its search path.

    Rows are dicts.  Raises `StoreUnusable`, and undoes everything, for any error of the database within.
    """
    timeout = f"{LOCK_TIMEOUT:.0f}s"
    with open_connection(conninfo, lock_timeout=timeout) as connection, connection.transaction():
        _check_server(connection, durable)
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK_ID])
        yield connection, enter_schema(connection)


@contextmanager
def open_connection(conninfo: str, **settings: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection with the settings of our sessions and these, to be used in here.  Raises `StoreUnusable`."""
    try:
        opened = connect_blocking(conninfo, NameResolver())
    except psycopg.ProgrammingError:
        raise StoreUnusable("DATABASE_URL can't be read") from None  # libpq's text might show a password
    except DatabaseUnreachable as error:
        raise StoreUnusable(f"PostgreSQL can't be used: {error}") from error
    try:
        opened.connection.nonblocking = 1  # as psycopg wants it
        with psycopg.Connection(opened.connection, row_factory=dict_row) as connection:
            connection.autocommit = True
            for command in session_settings(**settings):
                connection.execute(command)
            yield connection
    except psycopg.Error as error:
        raise StoreUnusable(f"PostgreSQL can't be used: {one_line(error)}") from error


def enter_schema(connection: psycopg.Connection[Any]) -> str:
    """Find the schema of the tables, or of the tables to be, and make it the search path."""
    (found,) = connection.execute(FIND_SCHEMA).fetchall()
    schema = str(found["schema"])
    connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", [schema])
    return schema


def _check_server(connection: psycopg.Connection[Any], durable: bool) -> None:
    info = connection.info
    if info.server_version < MIN_VERSION:
        raise StoreUnusable(
            f"PostgreSQL {info.server_version // 10000} is too old: 13 is the first that will do"
        )
    if info.parameter_status("server_encoding") != "UTF8":
        raise StoreUnusable(f"the database {info.dbname} must be in UTF8: CREATE DATABASE … ENCODING 'UTF8'")
    (found,) = connection.execute("SELECT current_setting('fsync') AS fsync").fetchall()
    if durable and found["fsync"] != "on":
        raise StoreUnusable(
            "PostgreSQL runs with fsync = off, so nothing it acknowledges is durable: set it on"
        )


def _warn_without_checksums(connection: psycopg.Connection[Any]) -> None:
    """Say that damage on the server's disk would be served as data."""
    (found,) = connection.execute("SELECT current_setting('data_checksums') AS checksums").fetchall()
    if found["checksums"] != "on":
        Logger().warn(
            "PostgreSQL keeps no checksums of its pages, so it can't tell data that its disk has changed: stop it and "
            "run pg_checksums --enable; docs/operations.md#damaged-data"
        )


def apply_pending_migrations(
    connection: psycopg.Connection[Any], sql: Path, statements: Statements, now: float
) -> None:
    """Bring the schema that is the search path up to date.  Raises `StoreUnusable`."""
    connection.execute(statements["migrations_begin"])
    execute = _executor(connection, statements)
    applied = connection.execute(statements["migrations_applied"]).fetchall()
    for migration in pending_migrations(load_migrations(sql), applied):
        try:
            connection.execute(migration.text)
        except psycopg.Error as error:
            raise StoreUnusable(
                f"migration {migration.name} failed, nothing of it was kept: {one_line(error)}"
            ) from error
        if migration.title == email_keys.MIGRATION:
            email_keys.update_email_keys(execute)
        execute("migration_record", migration.record(format_timestamp(now)))


def _executor(connection: psycopg.Connection[Any], statements: Statements) -> email_keys.Execute:
    """Executes statements by their names on `connection`."""
    prepared = to_prepared_statements(statements)

    def execute(name: str, params: Mapping[str, object]) -> Sequence[Row]:
        statement = prepared[name]
        encoded = (encode_parameter(params[each]) for each in statement.parameter_names)
        values = [None if value is None else value.decode() for value in encoded]
        cursor = psycopg.RawCursor(connection).execute(statement.text, values)
        return cursor.fetchall() if cursor.description else ()

    return execute
