"""Before anybody is served: is this a database for us, and has it all migrations?  Blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
from attrs import frozen
from psycopg.rows import dict_row

from ...core.model import format_timestamp
from ..errors import StoreUnusable
from ..migrations import load_migrations, pending_migrations
from ..statements import Statements
from .connector import CONNECT_TIMEOUT

MIN_VERSION = 13_00_00  # the first PostgreSQL with `pg_xact_status` of 64-bit transaction ids
ADVISORY_LOCK_ID = 0x6D756C7469  # of the instances that start at the same time, only one migrates; "multi"
LOCK_TIMEOUT = 60.0  # seconds to wait for the other one


@frozen
class MigratedDatabase:
    """What was found."""

    position: int  # of the log's head


def migrate(conninfo: str, sql: Path, statements: Statements, now: float, durable: bool) -> None:
    """Bring the database up to date; `durable`: refuse a server that does not sync.  Raises `StoreUnusable`.

    All that is pending is one transaction, behind an advisory lock: who comes second waits, and finds it done.
    """
    try:
        wanted = psycopg.conninfo.make_conninfo(conninfo, connect_timeout=CONNECT_TIMEOUT)
    except psycopg.ProgrammingError:
        raise StoreUnusable("DATABASE_URL can't be read") from None  # libpq's text might show a password
    try:
        with psycopg.connect(wanted, row_factory=dict_row) as connection:
            _check_server(connection, durable)
            connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT:.0f}s'")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [ADVISORY_LOCK_ID])
            _apply_pending_migrations(connection, sql, statements, format_timestamp(now))
    except psycopg.Error as error:
        raise StoreUnusable(f"PostgreSQL can't be used: {_one_line(error)}") from error


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


def _apply_pending_migrations(
    connection: psycopg.Connection[Any], sql: Path, statements: Statements, at: str
) -> None:
    connection.execute(statements["migrations_begin"])
    applied = connection.execute(statements["migrations_applied"]).fetchall()
    for migration in pending_migrations(load_migrations(sql), applied):
        try:
            connection.execute(migration.text)
        except psycopg.Error as error:
            raise StoreUnusable(
                f"migration {migration.name} failed, nothing of it was kept: {_one_line(error)}"
            ) from error
        record = statements["migration_record"]
        for name in ("number", "name", "checksum", "at"):
            record = record.replace(f":{name}", f"%({name})s")
        values = {
            "number": migration.number,
            "name": migration.name,
            "checksum": migration.checksum,
            "at": at,
        }
        connection.execute(record, values)


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split())
