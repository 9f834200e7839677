"""What each session with PostgreSQL sets for itself, whatever the defaults of the server, the database or the role.

All sessions begin here: those that read, the one that writes, and those of
migrations and of `multiproto.move`.  A default is overruled where a statement
or a decoder relies on another value; a stricter `synchronous_commit` stays.
docs/instances.md#postgresql
"""

from __future__ import annotations

from typing import Mapping

# By name.  A timeout of 0 is none; the first protects the others.
_BASE_SETTINGS: Mapping[str, str] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    # How texts are read and written: `types`.
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "timezone": "UTC",
    "timezone_abbreviations": "Default",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "client_min_messages": "error",
    # What statements mean, and which rows they see.
    "default_transaction_isolation": "read committed",  # statements after a lock see all earlier commits
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error where a policy would hide rows
    "transform_null_equals": "off",
    "exit_on_error": "off",
    # How migrations make tables and functions.
    "default_tablespace": "",
    "default_table_access_method": "heap",
    "check_function_bodies": "on",
    "quote_all_identifiers": "off",
    # How long the first executions take: compiling pays for none of our statements.
    "jit": "off",
}

# Settings of newer versions, which take effect where they exist: both would end a connection that is idle by design.
_TIMEOUTS_OF_NEWER_VERSIONS = (
    b"SELECT set_config(name, '0', false) FROM pg_settings"
    b" WHERE name IN ('transaction_timeout', 'idle_session_timeout') AND setting <> '0'"
)

# A commit is on disk, on a synchronous standby, too; `remote_apply` is more than that.
_DURABLE_COMMITS = (
    b"SELECT set_config('synchronous_commit', 'on', false)"
    b" WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')"
)

# "replica" would switch foreign keys and triggers off.  Only a superuser may set it, even to what it is.
_FOREIGN_KEYS = (
    b"SELECT set_config('session_replication_role', 'origin', false)"
    b" WHERE current_setting('session_replication_role') <> 'origin'"
)

# The schema of the tables.  A search path of the address itself (`options=-csearch_path=…`) is obeyed.  Any other is a
# default, which may have been changed since the tables were made: they are used where the path leads to them, or where
# they are in "public", if they belong to this role.  Tables that are yet to be made go where the path says.
FIND_SCHEMA = """
WITH ours AS (
    SELECT nspname, array_position(current_schemas(false), nspname) AS place
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relname IN ('migrations', 'terms', 'floors') AND relkind = 'r' AND pg_has_role(relowner, 'USAGE')
    GROUP BY nspname
    HAVING count(*) = 3
)
SELECT coalesce(
    (SELECT nspname FROM ours
     WHERE (place IS NOT NULL OR nspname = 'public')
         AND (SELECT source FROM pg_settings WHERE name = 'search_path') <> 'client'
     ORDER BY place LIMIT 1),
    current_schema(),
    'public'
) AS schema
"""


def session_settings(schema: str | None = None, **changed: str) -> tuple[bytes, ...]:
    """SQL commands that set up a session: the base settings with those `changed`.

    `schema` is where the tables are, as found by `FIND_SCHEMA`; without it, the
    search path stays as it is.
    """
    settings = {**_BASE_SETTINGS, **changed}
    if schema is not None:
        settings["search_path"] = schema
    return (
        *(_set_command(name, value) for name, value in settings.items()),
        _TIMEOUTS_OF_NEWER_VERSIONS,
        _DURABLE_COMMITS,
        _FOREIGN_KEYS,
    )


def _set_command(name: str, value: str) -> bytes:
    """SQL that sets `name` in this session; a literal is one name where a list could stand, as in `search_path`."""
    escaped = value.replace("'", "''")
    return f"SET {name} = '{escaped}'".encode()
