"""A short way to a row or two: read in the reactor's thread, where handing the question to another costs ten times as much.

Only what is found by a key is asked here, and no more than some ten
microseconds' steps of it: who needs more, or would have to wait for a lock, is
sent to the threads.  Pages of the file that are not in memory yet make it wait
for the disk, once for each.

Bought, in CPU of GET /api/v1/users/:id: 340 to 180 µs
(docs/decisions/021-quick-http.md).
"""

from __future__ import annotations

import sqlite3
from typing import Sequence

from attrs import define

from ..core.ports import Query, Snapshot
from .reader import Reader

# By what is unique, or by what there is little of.
NAMES = frozenset(
    ("user_by_id", "user_by_email", "message_by_id", "session_live", "refresh_by_hash", "event_position")
    + ("credential_by_id", "key_of", "credentials_of_user", "sessions_open", "users_by_ids")
)
STEPS = 20_000  # of SQLite's machine, at most: a millisecond


@define(eq=False, repr=False)
class Near:
    """`reader` has a connection that waits for no lock."""

    _reader: Reader

    def read(self, queries: Sequence[Query]) -> Snapshot | None:
        """What they give; `None` where that is not to be had here."""
        for query in queries:
            if query.name not in NAMES:
                return None
        try:
            return self._reader.at_once(queries, STEPS)
        except sqlite3.Error:
            return None

    def close(self) -> None:
        self._reader.close()
