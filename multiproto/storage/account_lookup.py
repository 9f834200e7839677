"""Finds an account by its mailbox address, for a command: it only reads, also beside a server that runs.  Blocks."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from ..core.kept_accounts import email_lookup
from .errors import StoreUnusable
from .postgresql.migrate import enter_schema, open_connection
from .postgresql.statements import to_prepared_statements
from .sqlite.connection import connect_reader, fetch_all
from .sqlite.errors import translate_sqlite_errors
from .sqlite.store import DATABASE_FILE
from .statements import load_statements, sql_directory

_STATEMENT = "user_by_email"
_LOCK_TIMEOUT = 2.0  # seconds to wait for another program's lock


def find_user_id(postgresql_dsn: str | None, directory: Path, address: str) -> str | None:
    """The id of the account with this address, in any spelling; `None` for nobody's.  Raises `StoreUnusable`.

    It is in the embedded database in `directory`, unless there is a DSN of PostgreSQL.
    """
    if postgresql_dsn is not None:
        return _find_in_postgresql(postgresql_dsn, address)
    check_database_exists(directory)
    return _find_in_sqlite(directory / DATABASE_FILE, address)


def check_database_exists(directory: Path) -> None:
    """Raise `StoreUnusable` if there is no embedded database in `directory`: to open it would make an empty one."""
    if not (directory / DATABASE_FILE).exists():
        raise StoreUnusable(
            f"there is no database in {directory.absolute()}: name the server's DATA_DIR by --data-dir"
        )


def _find_in_sqlite(file: Path, address: str) -> str | None:
    statement = load_statements(sql_directory("sqlite") / "queries")[_STATEMENT]
    with translate_sqlite_errors(file), closing(connect_reader(file, _LOCK_TIMEOUT)) as connection:
        for row in fetch_all(connection, statement, email_lookup(address)):
            return str(row["id"])
    return None


def _find_in_postgresql(conninfo: str, address: str) -> str | None:
    statements = load_statements(sql_directory("postgresql") / "queries")
    statement = to_prepared_statements({_STATEMENT: statements[_STATEMENT]})[_STATEMENT]
    values = email_lookup(address)
    with open_connection(conninfo, default_transaction_read_only="on") as connection:
        enter_schema(connection)
        parameters = [values[name] for name in statement.parameter_names]
        for row in psycopg.RawCursor(connection, row_factory=dict_row).execute(statement.text, parameters):
            return str(row["id"])
    return None
