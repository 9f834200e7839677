"""What an error of SQLite means to the operator."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ..errors import StoreUnusable

MIN_VERSION = (3, 37, 0)  # the first SQLite with STRICT tables


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Turn an error of SQLite with the database at `path` into `StoreUnusable`."""
    if sqlite3.sqlite_version_info < MIN_VERSION:
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is the first that will do")
    try:
        yield
    except sqlite3.Error as error:
        raise StoreUnusable(f"database {path} can't be used: {error}") from error
