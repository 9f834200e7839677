"""Copies the embedded store's file into an empty PostgreSQL, row by row, so that cursors, tokens and keys stay valid.

Both have the same tables and columns but for the log's head, which a test ensures;
so only the tables that must be empty are named here.  Blocks; no server may run meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from ..base.one_line import one_line
from .errors import StoreUnusable
from .migrations import load_migrations
from .postgresql.migrate import migrate as migrate_postgresql
from .postgresql.session import session_settings
from .postgresql.transaction import new_mark
from .sqlite.checksums import checksum_columns, is_as_written
from .sqlite.connection import connect, connect_reader, fetch_all
from .sqlite.data_directory import DataDirectory
from .sqlite.errors import translate_sqlite_errors
from .sqlite.migrate import migrate as migrate_sqlite
from .sqlite.store import DATABASE_FILE
from .statements import load_statements, sql_directory

PROGRESS_ROWS = 10_000  # rows between two reports of progress
SKIPPED_TABLES = ("migrations",)  # each database has its own
HEAD = "head"  # the table of one row that is a row of `heads` in PostgreSQL

OnProgress = Callable[[str], object]  # called with a line for people


def copy_to_postgresql(directory: Path, conninfo: str, now: float, on_progress: OnProgress) -> dict[str, int]:
    """Copy all rows or none; returns their number by table.  Raises `StoreUnusable`.  The file is not changed."""
    _check_has_run(directory)
    locked = DataDirectory.acquire(directory)
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
            return _copy_all(source, conninfo, now, on_progress)
    finally:
        locked.release()


def count_rows(directory: Path) -> dict[str, int]:
    """The number of rows by table, as they are now.  Raises `StoreUnusable`."""
    file = directory / DATABASE_FILE
    _check_has_run(directory)
    with translate_sqlite_errors(file), closing(connect_reader(file, 2.0)) as source:
        return {
            table: source.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in _tables(source)
        }


def _check_has_run(directory: Path) -> None:
    if not (directory / DATABASE_FILE).exists():
        raise StoreUnusable(
            f"there is no {DATABASE_FILE} in {directory}: name the data directory of a server that has run"
        )


def _copy_all(
    source: sqlite3.Connection, conninfo: str, now: float, on_progress: OnProgress
) -> dict[str, int]:
    sql_files = sql_directory("postgresql")
    schema = migrate_postgresql(
        conninfo, sql_files, load_statements(sql_files / "queries"), now, durable=False
    )
    try:
        with psycopg.connect(conninfo, autocommit=True) as target:
            for command in session_settings(schema):
                target.execute(command)
            with target.transaction():
                lock_and_check_empty(target)
                for table in ("terms", "floors"):  # what a fresh database has is not the source's
                    target.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
                return {table: _copy_table(source, target, table, on_progress) for table in _tables(source)}
    except psycopg.Error as error:
        raise StoreUnusable(f"nothing was moved: {one_line(error)}") from error


def lock_and_check_empty(target: psycopg.Connection[Any]) -> None:
    """Lock the log, so that no instance can write until the end, and make sure that there is no data."""
    cursor = target.cursor(row_factory=tuple_row)
    cursor.execute(load_statements(sql_directory("postgresql") / "queries")["log_lock"].encode())
    (position,) = cursor.execute("SELECT max(position) FROM heads").fetchone() or (0,)
    (users,) = cursor.execute("SELECT count(*) FROM users").fetchone() or (0,)
    if position or users:
        raise StoreUnusable(
            "the database in PostgreSQL has been used already: name an empty one, and stop all instances"
        )


def _tables(source: sqlite3.Connection) -> Iterator[str]:
    """The names of all tables, in the order of creation: referenced tables come first."""
    for row in fetch_all(source, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid", {}):
        if row["name"] not in SKIPPED_TABLES and not row["name"].startswith("sqlite_"):
            yield row["name"]


def _copy_table(
    source: sqlite3.Connection, target: psycopg.Connection[Any], table: str, on_progress: OnProgress
) -> int:
    if table == HEAD:
        return _copy_head(source, target)
    all_columns = [row["name"] for row in fetch_all(source, f"PRAGMA table_info({table})", {})]
    columns = [name for name in all_columns if name not in checksum_columns(table)]  # PostgreSQL has its own
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    count = 0
    with target.cursor() as cursor:
        with cursor.copy(into) as copy:
            for values in source.execute(f"SELECT {', '.join(all_columns)} FROM {table} ORDER BY rowid"):
                row = dict(zip(all_columns, values))
                if not is_as_written(table, row):
                    raise StoreUnusable(
                        f"nothing was moved: a row of {table} is damaged: python -m multiproto check-data lists it, "
                        "docs/operations.md#damaged-data says what to do"
                    )
                copy.write_row([row[name] for name in columns])
                count += 1
                if count % PROGRESS_ROWS == 0:
                    on_progress(f"{table}: {count:,}")
        _advance_identity_sequences(cursor, table)
    on_progress(f"{table}: {count:,}")
    return count


def _copy_head(source: sqlite3.Connection, target: psycopg.Connection[Any]) -> int:
    """The log ends here as it does there."""
    (position,) = source.execute("SELECT position FROM head").fetchone()
    last = target.execute("SELECT max(number) FROM heads").fetchone()
    assert last is not None, "an aggregate has a row"
    target.execute(
        "INSERT INTO heads (number, position, mark) VALUES (%s, %s, %s)", [last[0] + 1, position, new_mark()]
    )
    return 1


def _advance_identity_sequences(cursor: psycopg.Cursor[Any], table: str) -> None:
    """Make PostgreSQL number further rows after those that were copied."""
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
