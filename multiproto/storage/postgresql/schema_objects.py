"""What migrations make in a schema, found in the catalogue: to move all of it to another schema, and nothing else.  Blocks."""

from __future__ import annotations

from typing import Any, Sequence

import psycopg
from attrs import frozen
from psycopg import sql

from ..migrations import load_migrations, pending_migrations
from ..statements import load_statements, sql_directory

# All that is in a schema by itself: not what moves with a table, as its indexes and the sequences of its columns.
_OBJECTS = """
SELECT found.type AS kind, found.identity, replace(found.identity, quote_ident(%(schema)s) || '.', '') AS name
FROM pg_depend AS member CROSS JOIN LATERAL pg_identify_object(member.classid, member.objid, 0) AS found
WHERE member.refclassid = 'pg_namespace'::regclass
  AND member.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s)
  AND member.deptype = 'n'
  AND NOT EXISTS (
      SELECT FROM pg_depend AS owned
      WHERE owned.classid = member.classid AND owned.objid = member.objid
        AND owned.refclassid = 'pg_class'::regclass AND owned.refobjsubid > 0 AND owned.deptype IN ('a', 'i')
  )
ORDER BY kind, name
"""


@frozen
class SchemaObject:
    kind: str  # as ALTER has it, e.g. "table"
    identity: str  # with its schema, as SQL has it
    name: str  # likewise, without its schema


def objects_of(connection: psycopg.Connection[Any], schema: str) -> Sequence[SchemaObject]:
    """All that is in `schema` by itself."""
    return [SchemaObject(**row) for row in connection.execute(_OBJECTS, {"schema": schema}).fetchall()]


def migrated_objects(
    connection: psycopg.Connection[Any], schema: str, scratch: str
) -> Sequence[SchemaObject]:
    """What the migrations that `schema` has had made in it, whoever put other things beside.

    They are made once more in the empty schema `scratch`, and that is undone.  Raises `StoreUnusable`.
    """
    files = sql_directory("postgresql")
    statements = load_statements(files / "queries")
    migrations = load_migrations(files)
    rows = connection.execute(statements["migrations_applied"]).fetchall()
    applied = migrations[: len(migrations) - len(pending_migrations(migrations, rows))]
    with connection.transaction() as savepoint:
        set_search_path(connection, scratch)
        connection.execute(statements["migrations_begin"])
        for migration in applied:
            connection.execute(migration.text)
        made = {(each.kind, each.name) for each in objects_of(connection, scratch)}
        raise psycopg.Rollback(savepoint)
    return [each for each in objects_of(connection, schema) if (each.kind, each.name) in made]


def move_object(connection: psycopg.Connection[Any], moved: SchemaObject, target: str) -> None:
    statement = f"ALTER {moved.kind} {moved.identity} SET SCHEMA "
    connection.execute(sql.SQL(statement) + sql.Identifier(target))  # type: ignore[arg-type]


def set_search_path(connection: psycopg.Connection[Any], schema: str) -> None:
    """Until the end of the transaction."""
    connection.execute(sql.SQL("SET LOCAL search_path = {}").format(sql.Identifier(schema)))
