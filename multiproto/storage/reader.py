"""What is read from the store, each time in one snapshot, by threads that can't write."""

from __future__ import annotations

import json
import sqlite3
from typing import Callable, Sequence

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.errors import TimedOut
from ..core.ports import Entry, Event, Query, Row, Snapshot
from .connection import fetch
from .cursors import Terms
from .jobs import Job
from .statements import Statements

_STRIDE = 10_000  # steps of SQLite's machine between two looks at the clock, well under a millisecond


@define(eq=False, repr=False)
class Reader:
    """A worker with a connection of its own, and all that can be asked of it."""

    _connection: sqlite3.Connection
    _statements: Statements
    _terms: Terms
    _answered: Callable[[Job[Read], object], object]  # called in this thread with each outcome
    _clock: IReactorTime
    _patience: float  # seconds from asking until a read is broken off

    def work(self, jobs: Sequence[Job[Read]]) -> None:
        for job in jobs:
            self._answered(job, self._read(job))

    def close(self) -> None:
        self._connection.close()

    # What a `Read` may call.

    def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position = self.head()
        results = (fetch(self._connection, self._statements[query.name], query.params) for query in queries)
        return Snapshot(tuple(results), self._terms.cursor(position))

    def head(self) -> int:
        return int(self._connection.execute(self._statements["log_head"]).fetchone()[0])

    def newest(self) -> tuple[int, str]:
        position = self.head()
        return position, self._terms.cursor(position)

    def after(self, position: int, limit: int) -> tuple[Entry, ...]:
        params = {"position": position, "limit": limit}
        return tuple(map(self._entry, fetch(self._connection, self._statements["log_after"], params)))

    def _entry(self, row: Row) -> Entry:
        # The strict reader is for what clients send; this we wrote, a level deeper than they may.
        topics, content = tuple(json.loads(row["topics"])), json.loads(row["content"])
        event = Event(row["id"], row["type"], topics, content, row["subject"], row["created_at"])
        return Entry(row["position"], self._terms.cursor(row["position"]), event)

    def _read(self, job: Job[Read]) -> object:
        """What `job` gives, or the exception that it ended with."""
        deadline = job.asked + self._patience
        self._connection.set_progress_handler(lambda: self._clock.seconds() > deadline, _STRIDE)
        try:
            self._connection.execute("BEGIN")
            return job.work(self)
        except Exception as error:  # is logged, or answered, where it was asked for
            return TimedOut("The database took too long") if self._clock.seconds() > deadline else error
        finally:
            self._connection.rollback()


Read = Callable[[Reader], object]  # done within one transaction
