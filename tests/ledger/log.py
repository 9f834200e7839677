"""The log as it is read when all is quiet."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_right
from contextlib import closing
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import psycopg
from attrs import define, field, frozen

from .records import fingerprint

# Told of accounts, sessions and withdrawals: no client sent these as they stand in the log.
_SERVERS_OWN = ("user.", "session.", "message.deleted", "canary")


@frozen
class Entry:
    position: int
    cursor: str
    id: str
    topics: tuple[str, ...]
    hash: str  # of the content, as a delivery has it
    payload: str | None  # hash of what its sender sent; None: no client sent it, or it is blank
    blank: bool = False  # withdrawn later: nothing of its content is left


@define(eq=False)
class Log:
    """Entries in order; all those at or below `floor` may have been pruned."""

    entries: Sequence[Entry]
    floor: int = 0
    start: str = ""  # the cursor of position `floor`
    wrongly_pruned: Sequence[
        Entry
    ] = ()  # of `entries`, those that are not in the log any more, and should be
    # By what was sent, the position from which on it may have been pruned: as many as are kept are in the log then.
    prunable_from: Mapping[str, int] = field(factory=dict)
    by_cursor: dict[str, Entry] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.by_cursor = {entry.cursor: entry for entry in self.entries}

    def may_name(self, entry: Entry, payload: str) -> bool:
        """Whether the answer to who sent `payload` may have the cursor of `entry`.

        Repeated once it was pruned, it has that of the head (docs/common.md#idempotency-keys).
        """
        prunable_from = self.prunable_from.get(payload)
        is_pruned = prunable_from is not None and entry.position >= prunable_from
        return entry.blank or entry.payload == payload or is_pruned

    def position(self, cursor: str | None) -> int | None:
        """What `cursor` stands for; `None` when this log has never had it, or has it no more."""
        if cursor is not None and cursor == self.start:
            return self.floor
        entry = self.by_cursor.get(cursor or "")
        return None if entry is None else entry.position


def entry(
    position: int, cursor: str, id: str, type: str, topics: Iterable[str], content: Any, blank: bool = False
) -> Entry:
    """A row, with what can be told from its content."""
    payload = None
    if not blank and not type.startswith(_SERVERS_OWN):
        payload = fingerprint(content["message"]["content"] if type == "message.sent" else content)
    return Entry(position, cursor, id, tuple(topics), fingerprint(content), payload, blank)


TERMS = "SELECT first_position, id FROM terms ORDER BY number"
ROWS = "SELECT position, id, type, topics, content FROM events ORDER BY position"


def from_sqlite(path: Path, floor: int = 0) -> Log:
    """Read the file of the embedded store beside a running server, or after it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        database.execute("BEGIN")
        return from_rows(database.execute(TERMS).fetchall(), database.execute(ROWS).fetchall(), floor)


def from_postgresql(url: str, floor: int = 0) -> Log:
    with psycopg.connect(url) as database:
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return from_rows(database.execute(TERMS).fetchall(), database.execute(ROWS).fetchall(), floor)


# As `ROWS`, with those that were pruned; then how many of the same namespace were written later, and whether it is there.
ROWS_EVER = """SELECT position, id, type, topics,
    CASE WHEN events.id IS NULL THEN archive.content ELSE events.content END, namespace,
    count(*) OVER (PARTITION BY namespace ORDER BY position DESC) - 1, events.id IS NOT NULL
FROM {archive} AS archive LEFT JOIN events USING (position, id, type, topics, namespace) ORDER BY position"""


def from_archive(url: str, archive: str, namespace: str, kept: int) -> Log:
    """The whole log, from a table that has kept what may be pruned: of `namespace`, all but the newest `kept`."""
    with psycopg.connect(url) as database:
        database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        terms = database.execute(TERMS).fetchall()
        rows = database.execute(ROWS_EVER.format(archive=archive).encode()).fetchall()
    there = from_rows(terms, (row[:5] for row in rows))
    there.wrongly_pruned = [
        entry
        for entry, (*_, its, later, present) in zip(there.entries, rows)
        if not present and (its != namespace or later < kept)
    ]
    ours = [entry for entry, (*_, its, _, _) in zip(there.entries, rows) if its == namespace]
    there.prunable_from = {
        entry.payload: last.position for entry, last in zip(ours, ours[kept:]) if entry.payload is not None
    }
    return there


def from_rows(terms: Sequence[Any], rows: Iterable[Any], floor: int = 0) -> Log:
    """What `TERMS` and `ROWS` gave.  Cursors are opaque to clients; this reads them as the stores make them, from the term of a position."""
    firsts = [first for first, _ in terms]

    def cursor(position: int) -> str:
        return f"{terms[max(bisect_right(firsts, position) - 1, 0)][1]}.{position}"

    entries = [
        entry(
            position,
            cursor(position),
            id,
            type,
            json.loads(topics),
            json.loads(content or "null"),
            content is None,
        )
        for position, id, type, topics, content in rows
        if position > floor
    ]
    return Log(entries, floor, cursor(floor))


def integrity(path: Path) -> str:
    """What SQLite says of its own file: "ok" or what is wrong."""
    with closing(sqlite3.connect(path)) as database:
        return "; ".join(row[0] for row in database.execute("PRAGMA integrity_check"))
