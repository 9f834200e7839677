"""From the embedded store's file into an empty PostgreSQL: every row as it is, so that cursors, tokens and keys stay good.

Both have the same tables and columns, which a test sees to; so this knows none
of them by name but what must be empty.  Blocks; nobody may be served meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg
from psycopg import sql

from ..base.one_line import one_line
from .errors import StoreUnusable
from .migrations import load_migrations
from .postgresql.migrate import migrate as migrate_postgresql
from .sqlite.connection import connect, fetch_all
from .sqlite.data_directory import DataDirectory
from .sqlite.errors import translate_sqlite_errors
from .sqlite.migrate import migrate as migrate_sqlite
from .sqlite.store import DATABASE_FILE
from .statements import load_statements, sql_directory

PROGRESS_ROWS = 10_000  # rows between two words of progress
SKIPPED_TABLES = ("migrations",)  # each has had its own

OnProgress = Callable[[str], object]  # how far it is


def copy_to_postgresql(directory: Path, conninfo: str, now: float, tell: OnProgress) -> dict[str, int]:
    """Rows moved, by table; all of them or none.  Raises `StoreUnusable`.  The file stays as it is."""
    if not (directory / DATABASE_FILE).exists():
        raise StoreUnusable(
            f"there is no {DATABASE_FILE} in {directory}: name the data directory of a server that has run"
        )
    ours = DataDirectory.acquire(directory)
    try:
        with (
            translate_sqlite_errors(directory / DATABASE_FILE),
            closing(connect(directory / DATABASE_FILE, 2.0)) as source,
        ):
            migrate_sqlite(
                source,
                load_migrations(sql_directory("sqlite")),
                load_statements(sql_directory("sqlite") / "queries"),
                now,
            )
            return _copy_all(source, conninfo, now, tell)
    finally:
        ours.release()


def _copy_all(source: sqlite3.Connection, conninfo: str, now: float, tell: OnProgress) -> dict[str, int]:
    there = sql_directory("postgresql")
    migrate_postgresql(conninfo, there, load_statements(there / "queries"), now, durable=False)
    try:
        with psycopg.connect(conninfo) as target:
            target.execute("SET TIME ZONE 'UTC'")
            _lock_and_check_empty(target)
            return {table: _copy_table(source, target, table, tell) for table in _tables(source)}
    except psycopg.Error as error:
        raise StoreUnusable(f"nothing was moved: {one_line(error)}") from error


def _lock_and_check_empty(target: psycopg.Connection[Any]) -> None:
    """With its head locked: no instance can write to it until we are done."""
    (position,) = target.execute("SELECT position FROM head FOR UPDATE").fetchone() or (0,)
    (users,) = target.execute("SELECT count(*) FROM users").fetchone() or (0,)
    if position or users:
        raise StoreUnusable(
            "the database in PostgreSQL has been used already: name an empty one, and stop all instances"
        )
    target.execute("DELETE FROM head")
    target.execute("DELETE FROM terms")
    target.execute("DELETE FROM floors")


def _tables(source: sqlite3.Connection) -> Iterator[str]:
    """In the order they were made: those that are referred to come first."""
    for row in fetch_all(source, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid", {}):
        if row["name"] not in SKIPPED_TABLES and not row["name"].startswith("sqlite_"):
            yield row["name"]


def _copy_table(
    source: sqlite3.Connection, target: psycopg.Connection[Any], table: str, tell: OnProgress
) -> int:
    columns = [row["name"] for row in fetch_all(source, f"PRAGMA table_info({table})", {})]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    count = 0
    with target.cursor() as cursor:
        with cursor.copy(into) as copy:
            for row in source.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"):
                copy.write_row(row)
                count += 1
                if count % PROGRESS_ROWS == 0:
                    tell(f"{table}: {count:,}")
        _advance_identity_sequences(cursor, table)
    tell(f"{table}: {count:,}")
    return count


def _advance_identity_sequences(cursor: psycopg.Cursor[Any], table: str) -> None:
    """Where PostgreSQL numbers rows itself, the next one follows those that were moved."""
    numbered = cursor.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = current_schema() AND table_name = %s AND is_identity = 'YES'",
        [table],
    ).fetchall()
    for (column,) in numbered:
        cursor.execute(
            sql.SQL("SELECT setval(pg_get_serial_sequence(%s, %s), max({})) FROM {}").format(
                sql.Identifier(column), sql.Identifier(table)
            ),
            [table, column],
        )
