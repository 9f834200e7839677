"""Small reads in the reactor's thread, where handing the query to another thread costs ten times as much.

What is found by a unique key is read here at once, and so are the log's newest
entries.  How much a list costs depends on the data; so a thread reads it first,
and as long as that takes next to no CPU, it is read here from then on.  A read
that waits too long for the disk is broken off and left to the threads, and none
waits for a lock.

Bought, in CPU of GET /api/v1/users/:id: 340 to 180 µs; of a list of 50 users
over GraphQL: 880 to 560 (docs/decisions/021-quick-http.md).  The log's newest
entries: docs/decisions/024-the-log-from-memory.md.
"""

from __future__ import annotations

import sqlite3
from time import thread_time
from typing import Callable, Sequence, TypeVar

from attrs import Factory, define
from twisted.internet.interfaces import IReactorTime

from ...core.errors import DataDamaged
from ...core.transactions import Entry, Query, Snapshot
from .reader import SqliteReader

T = TypeVar("T")

# Found by a unique key, or few in number.
INDEXED_QUERIES = frozenset(
    ("user_by_id", "user_by_email", "message_by_id", "session_live", "refresh_by_hash", "event_position")
    + ("session_began", "credential_by_id", "key_of", "credentials_of_user", "network_known", "email_owners")
    + ("sessions_open", "users_by_ids")
)
CHEAP_CPU_TIME = 0.001  # seconds of CPU that a read may take to count as cheap
INLINE_TIMEOUT = 0.005  # seconds that a read may take here, waiting for the disk and other threads included
STEPS_PER_CLOCK_CHECK = 1000  # steps of SQLite's machine between two checks of the clock
OFFLOAD_DURATION = 1.0  # seconds that a list is left to the threads after it took too long twice in a row


@define(eq=False, repr=False)
class InlineReader:
    """Reads with a connection of its own, which waits for no lock.

    Its three collections have the names of our statements, so they can't grow.
    """

    _reader: SqliteReader
    _clock: IReactorTime
    _cheap: set[str] = Factory(set)  # names of statements whose lists are read here
    _slow_once: set[str] = Factory(set)  # names of those that took too long the last time
    _offloaded_until: dict[str, float] = Factory(dict)  # name -> until when, by the clock

    def read(self, queries: Sequence[Query]) -> Snapshot | None:
        """As `SqliteReader.snapshot`; `None` where the threads must read it."""
        keyed = True
        for query in queries:
            if query.name not in INDEXED_QUERIES:
                keyed = False
                if query.name not in self._cheap:
                    return None
        if keyed:
            return self._try(lambda: self._reader.snapshot(queries))
        began, computed = self._clock.seconds(), thread_time()
        found = self._try(lambda: self._reader.snapshot(queries))
        if thread_time() - computed > CHEAP_CPU_TIME or self._clock.seconds() - began > INLINE_TIMEOUT:
            self._record_slow(queries)
        elif self._slow_once:
            self._slow_once.difference_update(each.name for each in queries)
        return found

    def record_cpu_time(self, queries: Sequence[Query], seconds: float) -> None:
        """A thread took so much CPU for `queries`."""
        now = self._clock.seconds()
        if seconds <= CHEAP_CPU_TIME:
            self._cheap.update(
                each.name for each in queries if self._offloaded_until.get(each.name, 0) <= now
            )

    def read_after(self, position: int, limit: int) -> tuple[Entry, ...] | None:
        """As `SqliteReader.read_after`; `None` where the threads must read it."""
        return self._try(lambda: self._reader.read_after(position, limit))

    def close(self) -> None:
        self._reader.close()

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return self._reader.run_in_transaction(
                read, self._clock.seconds() + INLINE_TIMEOUT, STEPS_PER_CLOCK_CHECK
            )
        except (sqlite3.Error, DataDamaged):  # a thread meets the same, and says so
            return None

    def _record_slow(self, queries: Sequence[Query]) -> None:
        """Count one slow read; one alone may be an accident, such as a garbage collection."""
        for name in {query.name for query in queries}:
            if name in self._slow_once:
                self._cheap.discard(name)
                self._offloaded_until[name] = self._clock.seconds() + OFFLOAD_DURATION
            self._slow_once.add(name)
