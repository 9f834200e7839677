"""SQLite connections as we want them, and what the module `sqlite3` leaves to its users."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from ...base import strict_json
from ...core.model import format_timestamp
from ...core.transactions import Row
from ..cursors import Term, Terms
from ..errors import StoreUnusable
from ..migrations import Migration, pending_migrations
from ..statements import Statements

MIN_VERSION = (3, 37, 0)  # the first SQLite with STRICT tables


def connect(path: Path, patience: float) -> sqlite3.Connection:
    """A connection that commits durably and may be handed to a thread.

    It waits `patience` seconds for a lock of another program.  Transactions
    are ours to begin (`isolation_level=None`).
    """
    connection = sqlite3.connect(
        path, timeout=patience, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode: a sync with each commit
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute("PRAGMA temp_store = MEMORY")  # savepoints: 1.8 times as many units a second at 400
    connection.execute("PRAGMA journal_size_limit = 67108864")  # bytes that a once large WAL may keep
    return connection


def connect_reader(path: Path, patience: float) -> sqlite3.Connection:
    """A connection that can't write."""
    connection = connect(path, patience)
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Tell the operator what SQLite says of the database at `path`."""
    if sqlite3.sqlite_version_info < MIN_VERSION:
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is the first that will do")
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnusable(f"database {path} can't be used: {error}") from error


def fetch_all(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> tuple[Row, ...]:
    """All rows that `statement` gives, as plain dicts."""
    cursor, columns = _execute(connection, statement, params)
    return tuple([dict(zip(columns, row)) for row in cursor.fetchall()])


def iterate_rows(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> Iterator[Row]:
    """The same one by one, read no further than asked."""
    cursor, columns = _execute(connection, statement, params)
    return (dict(zip(columns, row)) for row in cursor)


def _execute(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> tuple[sqlite3.Cursor, list[str]]:
    """With the names of the columns."""
    cursor = connection.execute(statement, encode_parameters(params))
    return cursor, [column[0] for column in cursor.description]


def encode_parameters(params: Mapping[str, object]) -> dict[str, object]:
    """`params` as SQLite takes them: lists, for `json_each`, and objects as JSON text."""
    return {
        name: strict_json.dumps(value).decode() if isinstance(value, (list, tuple, dict)) else value
        for name, value in params.items()
    }


def migrate(
    connection: sqlite3.Connection, migrations: tuple[Migration, ...], statements: Statements, now: float
) -> None:
    """Bring the database up to the last of `migrations`, each in a transaction of its own.

    What is pending is asked anew under the write lock each time, so of two
    processes that start together each migration is applied by one.
    """
    while _apply_next_migration(connection, migrations, statements, format_timestamp(now)):
        pass


def _apply_next_migration(
    connection: sqlite3.Connection, migrations: tuple[Migration, ...], statements: Statements, at: str
) -> bool:
    """Apply the first migration that is pending; False if none is."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statements["migrations_begin"])
        waiting = pending_migrations(migrations, fetch_all(connection, statements["migrations_applied"], {}))
        for migration in waiting[:1]:
            _apply_migration(connection, migration)
            record = {"number": migration.number, "name": migration.name, "checksum": migration.checksum}
            connection.execute(statements["migration_record"], record | {"at": at})
        connection.execute("COMMIT")
        return bool(waiting)
    finally:
        connection.rollback()  # does nothing behind the commit


def begin_term(
    connection: sqlite3.Connection, statements: Statements, term: str, namespaces: Sequence[str], now: float
) -> Terms:
    """A writer starts that keeps `namespaces`: all terms there are, the last of them new under the id `term`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statements["term_begin"], {"id": term, "at": format_timestamp(now)})
        connection.execute(statements["floors_forget"], encode_parameters({"namespaces": namespaces}))
        connection.execute(statements["floors_begin"], encode_parameters({"namespaces": namespaces}))
        rows = fetch_all(connection, statements["terms_all"], {})
        connection.execute("COMMIT")
    finally:
        connection.rollback()  # does nothing behind the commit
    return Terms(tuple(Term(row["id"], row["first_position"]) for row in rows))


def _apply_migration(connection: sqlite3.Connection, migration: Migration) -> None:
    """Run its statements one by one: `executescript` would commit the transaction that we are in."""
    try:
        for statement in _split_statements(migration.text):
            connection.execute(statement)
    except sqlite3.Error as error:
        raise StoreUnusable(f"migration {migration.name} failed, nothing of it was kept: {error}") from error


def _split_statements(text: str) -> Iterator[str]:
    """The statements of `text`, each of which ends with its line; a trigger is one."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    yield statement
