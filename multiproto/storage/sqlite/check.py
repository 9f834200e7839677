"""Reads a whole SQLite file and says what is damaged.  Blocks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Iterator, Mapping

from ..check import RowsRead, row_problems
from .checksums import is_as_written
from .connection import connect_reader

LOCK_TIMEOUT = 2.0  # seconds
MAX_PAGE_PROBLEMS = 100  # of pages and indexes, that SQLite lists


def find_damage(file: Path, read: RowsRead) -> Iterator[str]:
    """A line for each thing in `file` that is damaged; a server may have it open."""
    with closing(connect_reader(file, LOCK_TIMEOUT)) as connection:
        connection.text_factory = bytes  # one that is not UTF-8 must not hide those behind it
        for check in (_page_problems, _broken_references):
            try:
                yield from check(connection)
            except sqlite3.DatabaseError as error:
                yield str(error)
        for table in _table_names(connection):
            read.tables += 1
            yield from _table_problems(connection, table, read)


def _page_problems(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute(f"PRAGMA integrity_check({MAX_PAGE_PROBLEMS})"):
        if line != b"ok":
            yield line.decode(errors="replace")


def _broken_references(connection: sqlite3.Connection) -> Iterator[str]:
    for table, row, parent, _ in connection.execute("PRAGMA foreign_key_check"):
        yield f"{table.decode()}, row {row}: refers to a row of {parent.decode()} that is not there"


def _table_names(connection: sqlite3.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
    )
    return [name.decode() for (name,) in found]


def _decode_texts(row: Mapping[str, object]) -> dict[str, object]:
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in row.items()}


def _table_problems(connection: sqlite3.Connection, table: str, read: RowsRead) -> Iterator[str]:
    last = 0
    try:
        cursor = connection.execute(f'SELECT rowid, * FROM "{table}" ORDER BY rowid')
        columns = [column[0] for column in cursor.description][1:]
        for last, *values in cursor:
            read.rows += 1
            row = dict(zip(columns, values))
            problems = list(row_problems(table, last, row))
            yield from problems
            if not problems and not is_as_written(table, _decode_texts(row)):
                yield f"{table}, row {last}: is not as its checksum says"
    except sqlite3.DatabaseError as error:
        yield f"{table}: what follows row {last} can't be read: {error}"
