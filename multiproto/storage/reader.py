"""What is read from the store, each time in one snapshot, by threads that can't write."""

from __future__ import annotations

import sqlite3
from typing import Callable, Mapping, Sequence

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.errors import TimedOut
from ..core.ports import Entry, Page, Query, Snapshot
from .connection import fetch, rows
from .cursors import Terms
from .jobs import Job
from .rows import PAGE_ENTRIES, PAGE_SCANNED, PAGE_TEXT, entry_of, quoted_lead
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
        found = fetch(self._connection, self._statements["log_after"], params)
        return tuple(entry_of(row, self._terms) for row in found)

    def page(self, lead: str, low: int, high: int) -> Page:
        upto = self._end_of_stretch(low, high)
        params = {"lead": quoted_lead(lead), "low": low, "high": upto}
        entries, text = [], 0
        for row in rows(self._connection, self._statements["log_page"], params):
            entry = entry_of(row, self._terms)
            if any(topic.startswith(lead) for topic in entry.event.topics):
                entries.append(entry)
            text += len(row["content"]) + len(row["metadata"] or "")
            if text >= PAGE_TEXT or len(entries) == PAGE_ENTRIES:
                return Page(tuple(entries), entry.position, self.floors())
        return Page(tuple(entries), upto, self.floors())

    def locate(self, cursor: str) -> int | None:
        position = self._terms.position(cursor)
        return position if position is not None and position <= self.head() else None

    def floors(self) -> Mapping[str, int]:
        found = fetch(self._connection, self._statements["floors_all"], {})
        return {row["namespace"]: row["position"] for row in found}

    def _end_of_stretch(self, low: int, high: int) -> int:
        """How far one page may look: positions that were pruned cost nothing."""
        params = {"low": low, "high": high, "most": PAGE_SCANNED}
        found = fetch(self._connection, self._statements["log_stretch"], params)
        return int(found[0]["position"]) if found else high

    def at_once(self, queries: Sequence[Query], until: float, stride: int) -> Snapshot:
        """The same as `snapshot`, by whoever is in this thread.

        Raises `sqlite3.Error`, also when it is still at it at `until`: by the clock, which it
        looks at every `stride` steps of SQLite's machine.
        """
        self._connection.set_progress_handler(lambda: self._clock.seconds() > until, stride)
        try:
            self._connection.execute("BEGIN")
            return self.snapshot(queries)
        finally:
            self._connection.rollback()

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
