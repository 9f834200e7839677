"""What an error of SQLite means to the operator, and to the caller."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from ...core.errors import DataDamaged
from ..errors import StoreUnusable

# Primary result codes of a file whose pages are not what SQLite wrote; which rows are among them, it does not say.
DAMAGE_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# Primary result codes of what is no statement's fault: the disk and its file system, or another program's lock.
ENVIRONMENT_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
# How Python's message begins where a text is not UTF-8; the text follows.
NOT_UTF8 = "Could not decode to UTF-8"

MIN_VERSION = (3, 37, 0)  # the first SQLite with STRICT tables


@contextmanager
def translate_sqlite_errors(path: Path) -> Iterator[None]:
    """Turn an error of SQLite with the database at `path` into `StoreUnusable`."""
    if sqlite3.sqlite_version_info < MIN_VERSION:
        raise StoreUnusable(f"SQLite {sqlite3.sqlite_version} is too old: 3.37 is the first that will do")
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # Python's, of a message that quotes what is damaged
        raise StoreUnusable(f"database {path} can't be used: {error}") from error


def as_damage(error: Exception) -> DataDamaged | None:
    """The refusal for `error`, if it is a sign of damage."""
    if isinstance(error, UnicodeDecodeError):  # Python's, of a message that quotes what is damaged
        return DataDamaged("a stored text is not UTF-8")
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    if _primary_code(error) in DAMAGE_CODES:
        return DataDamaged(str(error))
    return DataDamaged("a stored text is not UTF-8") if str(error).startswith(NOT_UTF8) else None


def is_environmental(error: Exception) -> bool:
    """Whether no statement is at fault for `error`, so that any other may have met it."""
    return _primary_code(error) in ENVIRONMENT_CODES


def _primary_code(error: Exception) -> int | None:
    """SQLite's, without what the rest of an extended one adds; `None` where Python raised the error."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
