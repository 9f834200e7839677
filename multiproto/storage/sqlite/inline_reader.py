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

from ...core.transactions import Query, Snapshot
from .reader import SqliteReader

# By what is unique, or by what there is little of.
INDEXED_QUERIES = frozenset(
    ("user_by_id", "user_by_email", "message_by_id", "session_live", "refresh_by_hash", "event_position")
    + ("credential_by_id", "key_of", "credentials_of_user", "sessions_open", "users_by_ids")
)
CHEAP_CPU_TIME = 0.001  # seconds of computing for what is not much
INLINE_TIMEOUT = 0.005  # seconds that a read may take here, with waits for the disk and for other threads
STEPS_PER_CLOCK_CHECK = 1000  # steps of SQLite's machine between two looks at the clock
OFFLOAD_DURATION = 1.0  # seconds that what took too long, twice in a row, is left to the threads


@define(eq=False, repr=False)
class InlineReader:
    """`reader` has a connection that waits for no lock."""

    _reader: SqliteReader
    _clock: IReactorTime
    _cheap: set[str] = Factory(set)  # lists, by the names of their statements
    _slow_once: set[str] = Factory(set)  # those that took too long the last time
    _offloaded_until: dict[str, float] = Factory(dict)  # name -> until when, by the clock

    def read(self, queries: Sequence[Query]) -> Snapshot | None:
        """What they give; `None` where that is not to be had here."""
        keyed = True
        for query in queries:
            if query.name not in INDEXED_QUERIES:
                keyed = False
                if query.name not in self._cheap:
                    return None
        if keyed:
            return self._read(queries)
        began, computed = self._clock.seconds(), thread_time()
        found = self._read(queries)
        if thread_time() - computed > CHEAP_CPU_TIME or self._clock.seconds() - began > INLINE_TIMEOUT:
            self._record_slow(queries)
        elif self._slow_once:
            self._slow_once.difference_update(each.name for each in queries)
        return found

    def record_cpu_time(self, queries: Sequence[Query], seconds: float) -> None:
        """A thread computed so long for them."""
        now = self._clock.seconds()
        if seconds <= CHEAP_CPU_TIME:
            self._cheap.update(
                each.name for each in queries if self._offloaded_until.get(each.name, 0) <= now
            )

    def close(self) -> None:
        self._reader.close()

    def _read(self, queries: Sequence[Query]) -> Snapshot | None:
        try:
            return self._reader.snapshot_inline(
                queries, self._clock.seconds() + INLINE_TIMEOUT, STEPS_PER_CLOCK_CHECK
            )
        except sqlite3.Error:
            return None

    def _record_slow(self, queries: Sequence[Query]) -> None:
        """Once may be an accident: a collection of garbage, another program's turn."""
        for name in {query.name for query in queries}:
            if name in self._slow_once:
                self._cheap.discard(name)
                self._offloaded_until[name] = self._clock.seconds() + OFFLOAD_DURATION
            self._slow_once.add(name)
