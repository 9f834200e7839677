"""SQLite connections with our settings, and rows as dicts."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Iterator, Mapping

from ...core.transactions import Row
from .checksums import add_checksum_function, checked_dicts
from .types import encode_parameters


def connect(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """A connection that commits durably and may be handed to a thread.

    It waits `lock_timeout` seconds for a lock of another program.  Transactions
    begin with an explicit BEGIN only (`isolation_level=None`).
    """
    connection = sqlite3.connect(
        path, timeout=lock_timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL mode: a sync with each commit
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute("PRAGMA temp_store = MEMORY")  # savepoints: 1.8 times as many units a second at 400
    connection.execute("PRAGMA journal_size_limit = 67108864")  # bytes that a WAL keeps after it was larger
    add_checksum_function(connection)
    return connection


def connect_reader(path: Path, lock_timeout: float) -> sqlite3.Connection:
    """A connection that can't write."""
    connection = connect(path, lock_timeout)
    connection.execute("PRAGMA query_only = ON")
    return connection


def fetch_all(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> tuple[Row, ...]:
    """All rows of `statement`, as plain dicts.  Raises `DataDamaged` where one is not as its checksum says."""
    cursor, columns = _execute(connection, statement, params)
    return tuple(checked_dicts(columns, cursor.fetchall()))


def iterate_rows(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> Iterator[Row]:
    """The rows of `statement` one by one, read no further than the caller iterates.  Raises as `fetch_all`."""
    cursor, columns = _execute(connection, statement, params)
    for row in cursor:
        yield from checked_dicts(columns, (row,))


def _execute(
    connection: sqlite3.Connection, statement: str, params: Mapping[str, object]
) -> tuple[sqlite3.Cursor, tuple[str, ...]]:
    """A cursor, and the names of its columns."""
    cursor = connection.execute(statement, encode_parameters(params))
    return cursor, tuple([column[0] for column in cursor.description])
