"""Takes over the predecessor's PostgreSQL: in place, or into a fresh store of either engine.  Blocks.

All of it is one transaction: whatever interrupts it leaves everything as it was.
In place, the predecessor's tables are moved to a schema of their own, where they
stay until somebody drops them, so that the step can be undone
(docs/from-the-predecessor.md, docs/decisions/036-the-predecessors-database.md).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterable, Iterator, Sequence

import psycopg
from psycopg import sql

from .copy import OnProgress, lock_and_check_empty
from .errors import StoreUnusable
from .migrations import load_migrations
from .postgresql.migrate import (
    apply_pending_migrations,
    enter_schema,
    open_connection,
    schema_transaction,
)
from .postgresql.migrate import migrate as migrate_postgresql
from .postgresql.predecessor import (
    MESSAGE_COLUMNS,
    USER_COLUMNS,
    Predecessor,
    Survey,
    is_predecessor,
    predecessor_tables,
)
from .postgresql.schema_objects import migrated_objects, move_object, objects_of, set_search_path
from .sqlite.checksums import fill_statement
from .sqlite.connection import connect
from .sqlite.data_directory import DataDirectory
from .sqlite.errors import translate_sqlite_errors
from .sqlite.migrate import migrate as migrate_sqlite
from .sqlite.store import DATABASE_FILE
from .statements import load_statements, sql_directory

KEPT_SCHEMA = "predecessor"  # where its tables are once they were taken over in place
UNDONE_SCHEMA = "multiproto_undone"  # where ours are once that was undone
TABLE_LOCK_TIMEOUT = "5s"  # to wait for the end of transactions that use its tables

Rows = Sequence[tuple[Any, ...]]
Insert = Callable[[str, Sequence[str], Rows], object]  # table, columns, rows
OnSurvey = Callable[[Survey], object]  # called before anything is changed


def survey(conninfo: str) -> Survey:
    """What would be taken over.  Changes nothing.  Raises `StoreUnusable`."""
    with _snapshot(conninfo) as predecessor:
        return predecessor.survey()


def take_over_in_place(
    conninfo: str, now: float, on_survey: OnSurvey, on_progress: OnProgress
) -> Survey | None:
    """Make the predecessor's database ours; `None` if that was done before.  Raises `StoreUnusable`."""
    with schema_transaction(conninfo, durable=False) as (connection, schema):
        tables = predecessor_tables(connection)
        if not tables:
            if _is_taken_over(connection):
                return None
            raise StoreUnusable(_NOT_FOUND)
        _lock(connection, tables)
        found = _survey(Predecessor(connection, schema), on_survey)
        _make_schema(connection, KEPT_SCHEMA)
        _move_tables(connection, schema, tables, KEPT_SCHEMA)
        files = sql_directory("postgresql")
        apply_pending_migrations(connection, files, load_statements(files / "queries"), now)
        with _index_afterwards(connection, "messages", on_progress):
            _copy(Predecessor(connection, KEPT_SCHEMA), found, _postgresql_insert(connection), on_progress)
        _check_counts(found, lambda query: connection.execute(query).fetchall()[0]["total"])
        connection.execute("ANALYZE users, messages")  # lists are served at once
        return found


def undo_in_place(conninfo: str) -> None:
    """Give the predecessor its tables back, as they were; ours are set aside.  Raises `StoreUnusable`."""
    with schema_transaction(conninfo, durable=False) as (connection, schema):
        if is_predecessor(connection) or not _is_taken_over(connection):
            raise StoreUnusable("there is nothing to undo: this database was not taken over in place")
        _make_schema(connection, UNDONE_SCHEMA)
        ours = migrated_objects(connection, schema, scratch=UNDONE_SCHEMA)
        _lock(connection, [each.name for each in ours if each.kind == "table"])
        for each in ours:
            move_object(connection, each, UNDONE_SCHEMA)
        set_search_path(connection, KEPT_SCHEMA)
        _move_tables(connection, KEPT_SCHEMA, predecessor_tables(connection), schema)
        _drop_if_empty(connection, KEPT_SCHEMA)


def copy_to_postgresql_from_predecessor(
    source: str, target: str, now: float, on_survey: OnSurvey, on_progress: OnProgress
) -> Survey:
    """Copy everything into a database that is empty.  Raises `StoreUnusable`."""
    with _snapshot(source) as predecessor:
        found = _survey(predecessor, on_survey)
        files = sql_directory("postgresql")
        schema = migrate_postgresql(target, files, load_statements(files / "queries"), now, durable=False)
        with open_connection(target, search_path=schema) as connection, connection.transaction():
            lock_and_check_empty(connection)
            with _index_afterwards(connection, "messages", on_progress):
                _copy(predecessor, found, _postgresql_insert(connection), on_progress)
            _check_counts(found, lambda query: connection.execute(query).fetchall()[0]["total"])
            connection.execute("ANALYZE users, messages")
    return found


def copy_to_sqlite_from_predecessor(
    source: str, directory: Path, now: float, on_survey: OnSurvey, on_progress: OnProgress
) -> Survey:
    """Copy everything into the data directory of a server that has not run yet.  Raises `StoreUnusable`."""
    with _snapshot(source) as predecessor:
        found = _survey(predecessor, on_survey)
        locked = DataDirectory.acquire(directory)
        try:
            file = locked.create_file(DATABASE_FILE)
            with translate_sqlite_errors(file), closing(connect(file, 2.0)) as target:
                files = sql_directory("sqlite")
                migrate_sqlite(target, load_migrations(files), load_statements(files / "queries"), now)
                target.execute("BEGIN IMMEDIATE")
                _check_unused(target, directory)
                _copy(predecessor, found, _sqlite_insert(target), on_progress)
                _check_counts(found, lambda query: target.execute(query).fetchone()[0])
                _sqlite_checksums(target)
                target.execute("ANALYZE")
                target.execute("COMMIT")
        finally:
            locked.release()
    return found


_NOT_FOUND = (
    "there is no database of the predecessor at this address: its tables users (with a column password) and "
    "messages are not in the schema that the role uses"
)


@contextmanager
def _snapshot(conninfo: str) -> Iterator[Predecessor]:
    """The predecessor's database as it is now, to be read in here; nobody is kept from writing."""
    with open_connection(conninfo) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            schema = enter_schema(connection)
            if not is_predecessor(connection):
                raise StoreUnusable(
                    "this was taken over in place already" if _is_taken_over(connection) else _NOT_FOUND
                )
            yield Predecessor(connection, schema)


def _survey(predecessor: Predecessor, on_survey: OnSurvey) -> Survey:
    found = predecessor.survey()
    on_survey(found)
    if found.obstacles:
        raise StoreUnusable(f"nothing was taken over: {'; '.join(found.obstacles)}")
    return found


def _copy(predecessor: Predecessor, found: Survey, insert: Insert, on_progress: OnProgress) -> None:
    for table, columns, batches in (
        ("users", USER_COLUMNS, predecessor.users()),
        ("messages", MESSAGE_COLUMNS, predecessor.messages()),
    ):
        _copy_table(table, columns, batches, found.counts[table], insert, on_progress)


def _copy_table(
    table: str,
    columns: Sequence[str],
    batches: Iterable[Rows],
    total: int,
    insert: Insert,
    on_progress: OnProgress,
) -> None:
    done = 0
    for rows in batches:
        insert(table, columns, rows)
        done += len(rows)
        on_progress(f"{table}: {done:,} of {total:,}")


def _check_counts(found: Survey, count: Callable[[str], int]) -> None:
    """Raise `StoreUnusable`, so that nothing is kept, unless all that was found is there."""
    for table in ("users", "messages"):
        there = count(f"SELECT count(*) AS total FROM {table}")
        if there != found.counts[table]:
            raise StoreUnusable(
                f"nothing was taken over: {found.counts[table]:,} {table} were found and {there:,} arrived: "
                "stop whoever writes to the predecessor's database"
            )


def _postgresql_insert(connection: psycopg.Connection[Any]) -> Insert:
    def insert(table: str, columns: Sequence[str], rows: Rows) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    return insert


@contextmanager
def _index_afterwards(
    connection: psycopg.Connection[Any], table: str, on_progress: OnProgress
) -> Iterator[None]:
    """Without the indexes of `table` in here, which are built faster from all rows: 100,000 took 17 s, not 25 s."""
    indexes = connection.execute(
        "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition"
        " FROM pg_index WHERE indrelid = to_regclass(quote_ident(%s)) AND NOT indisunique",
        [table],
    ).fetchall()
    for index in indexes:
        connection.execute(f"DROP INDEX {index['name']}".encode())
    yield
    on_progress(f"{table}: {len(indexes)} indexes")
    for index in indexes:
        connection.execute(index["definition"].encode())


def _sqlite_insert(connection: sqlite3.Connection) -> Insert:
    def insert(table: str, columns: Sequence[str], rows: Rows) -> None:
        values = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})", rows)

    return insert


def _sqlite_checksums(connection: sqlite3.Connection) -> None:
    for table in ("users", "messages"):
        connection.execute(fill_statement(table))


def _check_unused(target: sqlite3.Connection, directory: Path) -> None:
    (position,) = target.execute("SELECT position FROM head").fetchone()
    (users,) = target.execute("SELECT count(*) FROM users").fetchone()
    if position or users:
        raise StoreUnusable(f"{directory} has been used already: name an empty or new directory")


def _is_taken_over(connection: psycopg.Connection[Any]) -> bool:
    (found,) = connection.execute(
        "SELECT to_regclass(%s) IS NOT NULL AS there", [f"{KEPT_SCHEMA}.users"]
    ).fetchall()
    return bool(found["there"])


def _lock(connection: psycopg.Connection[Any], tables: Sequence[str]) -> None:
    """Let nobody else use `tables` until the end of the transaction."""
    names = sql.SQL(", ").join(map(sql.Identifier, tables))
    try:
        connection.execute(f"SET LOCAL lock_timeout = '{TABLE_LOCK_TIMEOUT}'".encode())
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(names))
        connection.execute("SET LOCAL lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        raise StoreUnusable(
            "nothing was changed: somebody else uses the tables: stop all servers on this database first"
        ) from None


def _make_schema(connection: psycopg.Connection[Any], name: str) -> None:
    """Or take the empty one that the database's owner has made."""
    if objects_of(connection, name):
        raise StoreUnusable(
            f"the schema {name} is not empty: see what is in it, and drop or rename it: DROP SCHEMA {name} CASCADE"
        )
    if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [name]).fetchall():
        try:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise StoreUnusable(
                f"this role may not make the schema {name}: let its owner do it, with "
                f"CREATE SCHEMA {name} AUTHORIZATION {connection.info.user}"
            ) from None


def _move_tables(connection: psycopg.Connection[Any], source: str, names: Sequence[str], target: str) -> None:
    """With their indexes, constraints and triggers."""
    for each in objects_of(connection, source):
        if each.kind == "table" and each.name in names:
            move_object(connection, each, target)


def _drop_if_empty(connection: psycopg.Connection[Any], schema: str) -> None:
    """Unless an operator made it, or put something else into it."""
    with (
        suppress(psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege),
        connection.transaction(),
    ):
        connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))
