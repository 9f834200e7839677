"""Finds accounts, for a command: it only reads, also beside a server that runs.  Blocks."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Mapping, Sequence

import psycopg
from psycopg.rows import dict_row

from ..core.kept_accounts import email_lookup
from ..core.transactions import Row
from .errors import StoreUnusable
from .postgresql.migrate import enter_schema, open_connection
from .postgresql.statements import to_prepared_statements
from .sqlite.connection import connect_reader, fetch_all
from .sqlite.errors import translate_sqlite_errors
from .sqlite.store import DATABASE_FILE
from .statements import load_statements, sql_directory

_LOCK_TIMEOUT = 2.0  # seconds to wait for another program's lock


def find_user_id(postgresql_dsn: str | None, directory: Path, address: str) -> str | None:
    """The id of the account with this address, in any spelling; `None` for nobody's.  Raises `StoreUnusable`.

    It is in the embedded database in `directory`, unless there is a DSN of PostgreSQL.
    """
    for row in _read(postgresql_dsn, directory, "user_by_email", email_lookup(address)):
        return str(row["id"])
    return None


def find_operators(postgresql_dsn: str | None, directory: Path) -> Sequence[Row]:
    """`user_id`, `email` and `granted_at` of all that a command made operators.  Raises `StoreUnusable`."""
    return _read(postgresql_dsn, directory, "operators_all", {})


def check_database_exists(directory: Path) -> None:
    """Raise `StoreUnusable` if there is no embedded database in `directory`: to open it would make an empty one."""
    if not (directory / DATABASE_FILE).exists():
        raise StoreUnusable(
            f"there is no database in {directory.absolute()}: name the server's DATA_DIR by --data-dir"
        )


def _read(
    postgresql_dsn: str | None, directory: Path, name: str, values: Mapping[str, object]
) -> Sequence[Row]:
    """The rows of the query of that name."""
    if postgresql_dsn is not None:
        return _read_postgresql(postgresql_dsn, name, values)
    check_database_exists(directory)
    statement = load_statements(sql_directory("sqlite") / "queries")[name]
    file = directory / DATABASE_FILE
    with translate_sqlite_errors(file), closing(connect_reader(file, _LOCK_TIMEOUT)) as connection:
        return fetch_all(connection, statement, values)


def _read_postgresql(conninfo: str, name: str, values: Mapping[str, object]) -> Sequence[Row]:
    statements = load_statements(sql_directory("postgresql") / "queries")
    statement = to_prepared_statements({name: statements[name]})[name]
    with open_connection(conninfo, default_transaction_read_only="on") as connection:
        enter_schema(connection)
        parameters = [values[each] for each in statement.parameter_names]
        cursor = psycopg.RawCursor(connection, row_factory=dict_row)
        return cursor.execute(statement.text, parameters).fetchall()
