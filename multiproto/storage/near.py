"""A short way to some rows: read in the reactor's thread, where handing the question to another costs ten times as much.

What is found by a key is asked here at once.  How much a list takes depends on
what is kept; so the threads are asked first, and as long as next to nothing has
to be computed for it, it is read here as well.  What waits too long for the disk
is broken off and left to the threads, and nothing waits for a lock.

Bought, in CPU of GET /api/v1/users/:id: 340 to 180 µs; of a list of 50 users
over GraphQL: 880 to 560 (docs/decisions/021-quick-http.md).
"""

from __future__ import annotations

import sqlite3
from time import thread_time
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
QUICK = 0.001  # seconds of computing for what is not much
PATIENCE = 0.005  # seconds that a read may take here, with waits for the disk and for other threads
STRIDE = 1000  # steps of SQLite's machine between two looks at the clock
BARRED = 1.0  # seconds that what took too long, twice in a row, is left to the threads


@define(eq=False, repr=False)
class Near:
    """`reader` has a connection that waits for no lock."""

    _reader: Reader
    _clock: IReactorTime
    _small: set[str] = Factory(set)  # lists, by the names of their statements
    _slow: set[str] = Factory(set)  # those that took too long the last time
    _barred: dict[str, float] = Factory(dict)  # name -> until when, by the clock

    def read(self, queries: Sequence[Query]) -> Snapshot | None:
        """What they give; `None` where that is not to be had here."""
        keyed = True
        for query in queries:
            if query.name not in KEYED:
                keyed = False
                if query.name not in self._small:
                    return None
        if keyed:
            return self._read(queries)
        began, computed = self._clock.seconds(), thread_time()
        found = self._read(queries)
        if thread_time() - computed > QUICK or self._clock.seconds() - began > PATIENCE:
            self._bar(queries)
        elif self._slow:
            self._slow.difference_update(each.name for each in queries)
        return found

    def learn(self, queries: Sequence[Query], seconds: float) -> None:
        """A thread computed so long for them."""
        now = self._clock.seconds()
        if seconds <= QUICK:
            self._small.update(each.name for each in queries if self._barred.get(each.name, 0) <= now)

    def close(self) -> None:
        self._reader.close()

    def _read(self, queries: Sequence[Query]) -> Snapshot | None:
        try:
            return self._reader.at_once(queries, self._clock.seconds() + PATIENCE, STRIDE)
        except sqlite3.Error:
            return None

    def _bar(self, queries: Sequence[Query]) -> None:
        """Once may be an accident: a collection of garbage, another program's turn."""
        for name in {query.name for query in queries}:
            if name in self._slow:
                self._small.discard(name)
                self._barred[name] = self._clock.seconds() + BARRED
            self._slow.add(name)
