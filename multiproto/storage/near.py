"""A short way to some rows: read in the reactor's thread, where handing the question to another costs ten times as much.

What is found by a key is asked here at once.  How much a list takes depends on
what is kept; so the threads are asked first, and as long as they need next to
nothing for it, it is read here as well.  Nothing takes longer than a
half a millisecond here or waits for a lock: it is broken off and left to the threads.

Bought, in CPU of GET /api/v1/users/:id: 340 to 180 µs; of a list of 50 users
over GraphQL: 880 to 560 (docs/decisions/021-quick-http.md).
"""

from __future__ import annotations

import sqlite3
from typing import Sequence

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from ..core.ports import Query, Snapshot
from .reader import Reader

# By what is unique, or by what there is little of.
KEYED = frozenset(
    ("user_by_id", "user_by_email", "message_by_id", "session_live", "refresh_by_hash", "event_position")
    + ("credential_by_id", "key_of", "credentials_of_user", "sessions_open", "users_by_ids")
)
PATIENCE = 0.0005  # seconds that a read may take here
STRIDE = 1000  # steps of SQLite's machine between two looks at the clock
QUICK = 0.005  # seconds in which the threads answer what is not much, with the wait for them
BARRED = 10.0  # seconds that what took too long is left to the threads


@define(eq=False, repr=False)
class Near:
    """`reader` has a connection that waits for no lock."""

    _reader: Reader
    _clock: IReactorTime
    _small: set[str] = Factory(set)  # lists, by the names of their statements
    _barred: dict[str, float] = Factory(dict)  # name -> until when, by the clock

    def read(self, queries: Sequence[Query]) -> Snapshot | None:
        """What they give; `None` where that is not to be had here."""
        for query in queries:
            if query.name not in KEYED and query.name not in self._small:
                return None
        began = self._clock.seconds()
        try:
            found = self._reader.at_once(queries, began + PATIENCE, STRIDE)
        except sqlite3.Error:
            found = None
        now = self._clock.seconds()
        if now - began > PATIENCE:
            for query in queries:
                self._small.discard(query.name)
                self._barred[query.name] = now + BARRED
        return found

    def learn(self, queries: Sequence[Query], seconds: float) -> None:
        """The threads took so long for them."""
        now = self._clock.seconds()
        if seconds < QUICK:
            self._small.update(each.name for each in queries if self._barred.get(each.name, 0) <= now)

    def close(self) -> None:
        self._reader.close()
