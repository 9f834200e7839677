"""Checksums of rows: the statements that write a row compute them, and whoever reads the row compares them.

SQLite does not notice a bit that has changed within a text.  A checksum covers
its row's columns in one order, in which each statement that gives the checksum
gives them right before it.  A row without one, of a time when there were none or written by another program, is
not checked (docs/decisions/042-damaged-data.md).
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Mapping, Sequence
from zlib import crc32

import msgspec

from ...core.errors import DataDamaged

FUNCTION = "row_crc32"  # its name in our statements
CHECKSUM = "crc32"  # the column of each table below

# Table -> its checksums -> what each covers.
COVERED_COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "users": {
        CHECKSUM: ("id", "email", "name", "created_at", "updated_at"),
        "private_crc32": ("email_key", "password_hash", "version"),  # which lists of users don't read
    },
    "messages": {
        CHECKSUM: (
            *("id", "user_id", "content", "channel_id", "recipient_id"),
            *("created_at", "updated_at"),
        ),
    },
    "events": {
        CHECKSUM: (
            *("position", "id", "type", "topics", "content", "subject"),
            *("created_at", "namespace", "sender", "metadata"),
        ),
    },
}
_TABLES = {
    (*covered, checksum): table
    for table, checksums in COVERED_COLUMNS.items()
    for checksum, covered in checksums.items()
}

# MessagePack writes a text as it is, behind its length, in any version and program; it is the fastest, too.
_encode = msgspec.msgpack.Encoder().encode

Values = Sequence[object]  # texts, integers and `None`


def add_checksum_function(connection: sqlite3.Connection) -> None:
    """Let statements on `connection` compute checksums."""
    connection.create_function(FUNCTION, -1, _checksum_of, deterministic=True)


def checked_dicts(columns: tuple[str, ...], rows: Sequence[Values]) -> list[dict[str, object]]:
    """`rows` as dicts of their `columns` without the checksums.

    Raises `DataDamaged` where one is not as its checksums say.
    """
    found = [dict(zip(columns, row)) for row in rows]
    for table, name, start, end in _checksums_among(columns):
        for row, values in zip(found, rows):
            expected = row.pop(name)
            if expected is not None and crc32(_encode(values[start:end])) != expected:
                raise DataDamaged(f"a row of {table} is not as its checksum says")
    return found


@lru_cache(256)  # there are fewer statements that read
def _checksums_among(columns: tuple[str, ...]) -> Sequence[tuple[str, str, int, int]]:
    """Of each checksum its table and name, where what it covers begins, and its own place, where that ends."""
    found, start = [], 0
    for end, name in enumerate(columns):
        if name.endswith(CHECKSUM):
            found.append((_TABLES[columns[start : end + 1]], name, start, end))
            start = end + 1
    return found


def is_as_written(table: str, row: Mapping[str, object]) -> bool:
    """Whether `row`, of all columns of `table`, is as its checksums say."""
    return all(
        row[checksum] is None or row[checksum] == _checksum_of(*(row[name] for name in covered))
        for checksum, covered in COVERED_COLUMNS.get(table, {}).items()
    )


def fill_statement(table: str) -> str:
    """Gives all rows of `table` their checksums."""
    values = (
        f"{checksum} = {FUNCTION}({', '.join(covered)})"
        for checksum, covered in COVERED_COLUMNS[table].items()
    )
    return f"UPDATE {table} SET {', '.join(values)}"


def checksum_columns(table: str) -> frozenset[str]:
    return frozenset(COVERED_COLUMNS.get(table, ()))


def _checksum_of(*values: object) -> int:
    return crc32(_encode(values))
