"""Brings the database up to date before anybody is served.  Blocks."""

from __future__ import annotations

import sqlite3
from typing import Iterator, Mapping, Sequence

from ...base.timestamps import format_timestamp
from ...core.transactions import Row
from .. import email_keys
from ..errors import StoreUnusable
from ..migrations import Migration, pending_migrations
from ..statements import Statements
from .connection import fetch_all
from .types import encode_parameters


def migrate(
    connection: sqlite3.Connection, migrations: tuple[Migration, ...], statements: Statements, now: float
) -> None:
    """Bring the database up to the last of `migrations`, each in a transaction of its own.

    What is pending is read again under the write lock each time, so that of two
    processes that start together only one applies a migration.
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
            if migration.title == email_keys.MIGRATION:
                email_keys.update_email_keys(
                    lambda name, params: _execute(connection, statements[name], params)
                )
            connection.execute(statements["migration_record"], migration.record(at))
        connection.execute("COMMIT")
        return bool(waiting)
    finally:
        connection.rollback()  # does nothing after the commit


def _apply_migration(connection: sqlite3.Connection, migration: Migration) -> None:
    """Run its statements one by one: `executescript` would commit the open transaction."""
    try:
        for statement in _split_statements(migration.text):
            connection.execute(statement)
    except sqlite3.Error as error:
        raise StoreUnusable(f"migration {migration.name} failed, nothing of it was kept: {error}") from error


def _execute(connection: sqlite3.Connection, statement: str, params: Mapping[str, object]) -> Sequence[Row]:
    """The rows of `statement`, none of one that only writes."""
    cursor = connection.execute(statement, encode_parameters(params))
    columns = [column[0] for column in cursor.description or ()]
    return [dict(zip(columns, row)) for row in cursor]


def _split_statements(text: str) -> Iterator[str]:
    """The statements of `text`, each of which ends at the end of a line; a trigger is one statement."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    yield statement
