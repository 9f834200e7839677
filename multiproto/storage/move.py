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

from .connection import connect, fetch, migrate, usable
from .datadir import DataDirectory
from .errors import Unusable
from .migrations import released
from .postgresql.migrate import migrate as migrate_postgresql
from .sqlite import FILE
from .statements import load, sql_directory

EVERY = 10_000  # rows between two words of progress
LEFT = ("migrations",)  # each has had its own

Tell = Callable[[str], object]  # how far it is


def move(directory: Path, conninfo: str, now: float, tell: Tell) -> dict[str, int]:
    """Rows moved, by table; all of them or none.  Raises `Unusable`.  The file stays as it is."""
    if not (directory / FILE).exists():
        raise Unusable(f"there is no {FILE} in {directory}: name the data directory of a server that has run")
    ours = DataDirectory.take(directory)
    try:
        with usable(directory / FILE), closing(connect(directory / FILE, 2.0)) as source:
            migrate(source, released(sql_directory("sqlite")), load(sql_directory("sqlite") / "queries"), now)
            return _moved(source, conninfo, now, tell)
    finally:
        ours.release()


def _moved(source: sqlite3.Connection, conninfo: str, now: float, tell: Tell) -> dict[str, int]:
    there = sql_directory("postgresql")
    migrate_postgresql(conninfo, there, load(there / "queries"), now, durable=False)
    try:
        with psycopg.connect(conninfo) as target:
            target.execute("SET TIME ZONE 'UTC'")
            _check_empty(target)
            return {table: _move_table(source, target, table, tell) for table in _tables(source)}
    except psycopg.Error as error:
        raise Unusable(f"nothing was moved: {' '.join(str(error).split())}") from error


def _check_empty(target: psycopg.Connection[Any]) -> None:
    """With its head locked: no instance can write to it until we are done."""
    (position,) = target.execute("SELECT position FROM head FOR UPDATE").fetchone() or (0,)
    (users,) = target.execute("SELECT count(*) FROM users").fetchone() or (0,)
    if position or users:
        raise Unusable(
            "the database in PostgreSQL has been used already: name an empty one, and stop all instances"
        )
    target.execute("DELETE FROM head")
    target.execute("DELETE FROM terms")
    target.execute("DELETE FROM floors")


def _tables(source: sqlite3.Connection) -> Iterator[str]:
    """In the order they were made: those that are referred to come first."""
    for row in fetch(source, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY rowid", {}):
        if row["name"] not in LEFT and not row["name"].startswith("sqlite_"):
            yield row["name"]


def _move_table(source: sqlite3.Connection, target: psycopg.Connection[Any], table: str, tell: Tell) -> int:
    columns = [row["name"] for row in fetch(source, f"PRAGMA table_info({table})", {})]
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    count = 0
    with target.cursor() as cursor:
        with cursor.copy(into) as copy:
            for row in source.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY rowid"):
                copy.write_row(row)
                count += 1
                if count % EVERY == 0:
                    tell(f"{table}: {count:,}")
        _go_on_counting(cursor, table)
    tell(f"{table}: {count:,}")
    return count


def _go_on_counting(cursor: psycopg.Cursor[Any], table: str) -> None:
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
