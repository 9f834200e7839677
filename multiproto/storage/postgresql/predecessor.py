"""The database of the server before this one: recognizes it, says what is in it, and reads its rows as ours.

Nothing of it is judged by today's rules on input: what it accepted is kept
(docs/from-the-predecessor.md, docs/decisions/036-the-predecessors-database.md).
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Iterator, Mapping, Sequence

import psycopg
from attrs import field, frozen
from psycopg import sql
from psycopg.rows import dict_row, tuple_row

from ...core.errors import ValidationError
from ...core.kept_accounts import TRUNCATED_HASH, is_bcrypt_hash, shared_email_key
from ...core.mailbox import email_key
from ...core.pubsub.topics import MAX_TOPIC_BYTES, channel_topic
from ...core.validation import MAX_CHANNEL_LENGTH, FieldValidator

BATCH_ROWS = 5_000  # that are in memory at a time
MAX_EXAMPLES = 5  # of each kind that a survey names

USER_COLUMNS = ("id", "email", "email_key", "name", "password_hash", "created_at", "updated_at", "position")
MESSAGE_COLUMNS = (
    *("id", "user_id", "content", "channel_id", "recipient_id", "created_at", "updated_at", "position"),
)

# Table -> the columns by which it is known.
_TABLES: Mapping[str, set[str]] = {
    "users": {"id", "email", "name", "password", "created_at", "updated_at"},
    "messages": {"id", "user_id", "content", "recipient_id", "channel_id", "created_at", "updated_at"},
    "sessions": {"id", "user_id", "token", "expires_at", "created_at"},
}
_TABLES_HERE = """
SELECT relname, array_agg(attname::text) AS columns
FROM pg_class
JOIN pg_namespace ON pg_namespace.oid = relnamespace
JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE nspname = current_schema() AND relkind IN ('r', 'p') AND relname = ANY (%s)
GROUP BY relname
"""


def is_predecessor(connection: psycopg.Connection[Any]) -> bool:
    """Whether the current schema has the predecessor's tables."""
    return bool(predecessor_tables(connection))


def predecessor_tables(connection: psycopg.Connection[Any]) -> Sequence[str]:
    """Its tables in the current schema, that of its migrations included if it is in the way; none if it is not there."""
    names = [*_TABLES, "migrations"]
    found = connection.cursor(row_factory=tuple_row).execute(_TABLES_HERE, [names]).fetchall()
    columns = {name: set(each) for name, each in found}
    if not all(_TABLES[name] <= columns.get(name, set()) for name in ("users", "messages")):
        return ()
    return [name for name in names if name in columns]


@frozen
class Survey:
    """What a predecessor's database holds, and what will be odd about it here."""

    counts: Mapping[str, int]  # rows by table
    notes: Sequence[str]  # lines for people
    obstacles: Sequence[str]  # likewise: why it can't be taken over


@frozen
class Predecessor:
    """Its tables in one schema, read in a transaction that is open."""

    _connection: psycopg.Connection[Any] = field(repr=False)
    _schema: str

    def survey(self) -> Survey:
        """Reads every account and counts messages."""
        accounts = self._survey_accounts()
        (found,) = self._dicts(_SURVEY_MESSAGES).fetchall()
        channels = self._long_channels()
        sessions = self._count_sessions()
        (others,) = self._dicts(_OTHER_SESSIONS).fetchall()
        notes = [
            *accounts.notes,
            *_note(
                found["astray"],
                "{} whose recipient was deleted: visible to the author alone, as a message to oneself",
            ),
            *_note(
                len(channels),
                "{} whose name is too long today, with {:,} messages: these stay readable, further ones are refused",
                sum(channels.values()),
                what="channel",
            ),
            *_note(found["future"], "{} dated in the future: dated now, so that new ones come after them"),
            *_note(
                sessions,
                "{} left behind: the predecessor's tokens are not valid here, so everybody logs in",
                what="session",
            ),
        ]
        notes += _note(
            others["total"], "{} to this database besides: is the predecessor stopped?", what="connection"
        )
        obstacles = [
            *accounts.obstacles,
            *_note(
                found["orphans"],
                "{} from or to accounts that do not exist, or without content: delete or mend them first",
            ),
        ]
        counts = {**accounts.counts, "messages": found["total"], "sessions": sessions}
        return Survey(counts, notes, obstacles)

    def users(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Rows of `USER_COLUMNS`, the oldest first, in batches.

        Of those whose addresses are one here, the oldest account gets the address in
        any spelling, and each other one keeps its own spelling.
        """
        keys: set[str] = set()
        for batch in self._batches("users", _USERS):
            yield [self._user(row, keys) for row in batch]

    def messages(self) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Rows of `MESSAGE_COLUMNS`, the oldest first, in batches."""
        return self._batches("messages", _MESSAGES)

    def _user(self, row: tuple[Any, ...], keys: set[str]) -> tuple[Any, ...]:
        id, email, name, password, *rest = row
        key = email_key(email.strip())
        if key in keys:
            key = shared_email_key(email.strip())
        keys.add(key)
        hashed = TRUNCATED_HASH + password if is_bcrypt_hash(password) else password
        return id, email, key, name, hashed, *rest

    def _survey_accounts(self) -> Survey:
        first: dict[str, str] = {}  # key -> the address of the oldest account
        shared: dict[str, list[str]] = {}
        odd: dict[str, list[str]] = {"email": [], "name": [], "password": []}
        total, costs = 0, Counter[str]()
        for batch in self._batches("survey", _USERS):
            for _, email, name, password, *_ in batch:
                total += 1
                key = email_key(email.strip())
                if first.setdefault(key, email) is not email:
                    shared.setdefault(key, [first[key]]).append(email)
                for kind, value in (("email", email), ("name", name)):
                    if _is_refused_today(kind, value):
                        odd[kind].append(value)
                if is_bcrypt_hash(password):
                    costs[password[4:6]] += 1
                else:
                    odd["password"].append(email)
        notes = [
            *_note_examples(
                [" and ".join(each) for each in shared.values()],
                "{} shared by accounts that differ in spelling: each logs in with its own, the oldest with any other",
                "address",
            ),
            *_note_examples(odd["email"], "{} that would be refused today: kept", "address"),
            *_note_examples(odd["name"], "{} that would be refused today: kept", "name"),
            *_note_examples(odd["password"], "{} without a bcrypt hash: no password is right", "account"),
        ]
        if costs:
            common = ", ".join(f"{cost} ({count:,})" for cost, count in costs.most_common(3))
            notes.append(f"cost of the hashes: {common}; let BCRYPT_ROUNDS be the same")
        twice = [
            email
            for same in shared.values()
            for email, count in Counter(each.strip() for each in same).items()
            if count > 1
        ]
        obstacles = _note_examples(
            twice, "{} of several accounts, spelled alike: change all but one", "address"
        )
        return Survey({"users": total}, notes, obstacles)

    def _long_channels(self) -> Mapping[str, int]:
        """The channels that nobody can send to today, with the number of their messages."""
        rows = self._dicts(_LONG_CHANNELS).fetchall()
        return {row["channel"]: row["total"] for row in rows if _is_too_long(row["channel"])}

    def _count_sessions(self) -> int:
        (found,) = self._dicts("SELECT to_regclass({sessions_name}) IS NOT NULL AS there").fetchall()
        if not found["there"]:
            return 0
        (found,) = self._dicts("SELECT count(*) AS total FROM {sessions}").fetchall()
        return int(found["total"])

    def _batches(self, name: str, query: str) -> Iterator[list[tuple[Any, ...]]]:
        with self._connection.cursor(name=f"predecessor_{name}", row_factory=tuple_row) as cursor:
            cursor.execute(self._with_tables(query))
            while batch := cursor.fetchmany(BATCH_ROWS):
                yield batch

    def _dicts(self, query: str) -> psycopg.Cursor[dict[str, Any]]:
        return self._connection.cursor(row_factory=dict_row).execute(self._with_tables(query))

    def _with_tables(self, query: str) -> sql.Composed:
        tables: dict[str, sql.Composable] = {name: sql.Identifier(self._schema, name) for name in _TABLES}
        sessions = sql.Literal(tables["sessions"].as_string(self._connection))
        return sql.SQL(query).format(**tables, sessions_name=sessions)  # type: ignore[arg-type]


def _time(columns: str) -> str:
    """SQL for the first of these times that is there, as text: cut to milliseconds, as the predecessor showed it.

    What is dated in the future is dated now, so that what comes after it is newer.
    """
    within = f"least(greatest(coalesce({columns}, 'epoch')::timestamptz, '0001-01-01'), now())"
    return f"""to_char({within}, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


_CREATED_AT, _UPDATED_AT = _time("created_at, updated_at"), _time("updated_at, created_at")
# The newest is at 0, where the log begins, and the others are before it: sql/postgresql/010_positions.sql.
_POSITION = f"1 - row_number() OVER (ORDER BY {_CREATED_AT} DESC, created_at DESC, id DESC)"

_USERS = f"""
SELECT id::text, coalesce(email, ''), coalesce(name, ''), coalesce(password, ''),
       {_CREATED_AT}, {_UPDATED_AT}, {_POSITION}
FROM {{users}}
ORDER BY created_at, id
"""
# A message without recipient and channel was to somebody whose account was deleted.  Here a message without recipient
# is for everybody, so it becomes one from its author to its author.
_MESSAGES = f"""
SELECT id::text, user_id::text, content, nullif(channel_id::text, ''),
       coalesce(recipient_id, CASE WHEN coalesce(channel_id::text, '') = '' THEN user_id END)::text,
       {_CREATED_AT}, {_UPDATED_AT}, {_POSITION}
FROM {{messages}}
ORDER BY created_at, id
"""
_SURVEY_MESSAGES = """
SELECT count(*) AS total,
       count(*) FILTER (WHERE recipient_id IS NULL AND coalesce(channel_id::text, '') = '') AS astray,
       count(*) FILTER (WHERE message.created_at > now()) AS future,
       count(*) FILTER (
           WHERE content IS NULL OR author.id IS NULL OR (recipient_id IS NOT NULL AND recipient.id IS NULL)
       ) AS orphans
FROM {messages} AS message
LEFT JOIN {users} AS author ON author.id = message.user_id
LEFT JOIN {users} AS recipient ON recipient.id = message.recipient_id
"""
_OTHER_SESSIONS = """
SELECT count(*) AS total
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend'
"""
# Escaped, a character has at most three times its bytes: a name of fewer fits a topic.
_LONG_CHANNELS = """
SELECT channel_id::text AS channel, count(*) AS total
FROM {messages}
WHERE octet_length(channel_id::text) > 70
GROUP BY channel_id
"""


def _is_refused_today(kind: str, value: str) -> bool:
    form = FieldValidator({kind: value})
    form.email() if kind == "email" else form.name()
    try:
        form.check()
    except ValidationError:
        return True
    return False


def _is_too_long(channel: str) -> bool:
    return len(channel) > MAX_CHANNEL_LENGTH or len(channel_topic(channel).encode()) > MAX_TOPIC_BYTES


def _note(count: int, text: str, *more: object, what: str = "message") -> Sequence[str]:
    """A line about `count` things, if there are any."""
    if not count:
        return ()
    plural = "es" if what.endswith("s") else "s"
    return (text.format(f"{count:,} {what}{'' if count == 1 else plural}", *more),)


def _note_examples(found: Sequence[str], text: str, what: str) -> Sequence[str]:
    """Likewise, with the first of those that were `found`."""
    more = ", …" if len(found) > MAX_EXAMPLES else ""
    named = ", ".join(map(repr, found[:MAX_EXAMPLES])) + more
    return [f"{line} ({named})" for line in _note(len(found), text, what=what)]
