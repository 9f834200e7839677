"""SQLite connections as we want them, and what the module `sqlite3` leaves to its users."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Iterator, Mapping

from ...core.transactions import Row
from .types import encode_parameters


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
