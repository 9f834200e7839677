"""Reads all our tables in PostgreSQL and says what is damaged.  Blocks."""

from __future__ import annotations

from typing import Any, Iterator

import psycopg
from psycopg import sql

from ...base.one_line import one_line
from ..check import RowsRead, row_problems
from .migrate import enter_schema, open_connection

# What a row is called by: nothing that a client chose.
ROW_NAMES = ("position", "id", "hash", "event_id", "number", "namespace", "user_id")


def find_damage(conninfo: str, read: RowsRead) -> Iterator[str]:
    """A line for each thing that is damaged; servers may run.  Raises `StoreUnusable`.

    Pages that are not what their checksums say can't be read; without checksums, they are read as they are.
    """
    with open_connection(conninfo, default_transaction_read_only="on") as connection:
        schema = enter_schema(connection)
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename", [schema]
        ).fetchall()
        for row in found:
            read.tables += 1
            yield from _table_problems(connection, row["tablename"], read)


def _table_problems(connection: psycopg.Connection[Any], table: str, read: RowsRead) -> Iterator[str]:
    query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
    try:
        for row in connection.cursor().stream(query):
            read.rows += 1
            name = next((row[column] for column in ROW_NAMES if column in row), "")
            yield from row_problems(table, name, row)
    except psycopg.OperationalError:
        raise  # the connection's end, not the table's
    except psycopg.Error as error:
        yield f"{table}: can't be read: {one_line(error)}"
