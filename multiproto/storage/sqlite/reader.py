"""What is read from the store, each time in one snapshot, by threads that can't write."""

from __future__ import annotations

import sqlite3
from typing import Callable, Mapping, Sequence

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ...core.errors import TimedOut
from ...core.transactions import Entry, Page, Query, Snapshot
from ..cursors import Terms
from ..jobs import Job
from ..rows import PAGE_MAX_CHARACTERS, PAGE_MAX_ENTRIES, PAGE_MAX_SCANNED, entry_from_row, json_prefix
from ..statements import Statements
from .connection import fetch_all, iterate_rows

_STEPS_PER_CLOCK_CHECK = (
    10_000  # steps of SQLite's machine between two looks at the clock, well under a millisecond
)


@define(eq=False, repr=False)
class SqliteReader:
    """A worker with a connection of its own, and all that can be asked of it."""

    _connection: sqlite3.Connection
    _statements: Statements
    _terms: Terms
    _on_outcome: Callable[[Job[ReadWork], object], object]  # called in this thread with each outcome
    _clock: IReactorTime
    _timeout: float  # seconds from asking until a read is broken off

    def run_jobs(self, jobs: Sequence[Job[ReadWork]]) -> None:
        for job in jobs:
            self._on_outcome(job, self._run_job(job))

    def close(self) -> None:
        self._connection.close()

    # What a `ReadWork` may call.

    def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position = self.head_position()
        results = (
            fetch_all(self._connection, self._statements[query.name], query.params) for query in queries
        )
        return Snapshot(tuple(results), self._terms.cursor_of(position))

    def head_position(self) -> int:
        return int(self._connection.execute(self._statements["log_head"]).fetchone()[0])

    def head(self) -> tuple[int, str]:
        position = self.head_position()
        return position, self._terms.cursor_of(position)

    def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        params = {"position": position, "limit": limit}
        found = fetch_all(self._connection, self._statements["log_after"], params)
        return tuple(entry_from_row(row, self._terms) for row in found)

    def read_page(self, lead: str, low: int, high: int) -> Page:
        upto = self._scan_end(low, high)
        params = {"lead": json_prefix(lead), "low": low, "high": upto}
        entries, text = [], 0
        for row in iterate_rows(self._connection, self._statements["log_page"], params):
            entry = entry_from_row(row, self._terms)
            if any(topic.startswith(lead) for topic in entry.event.topics):
                entries.append(entry)
            text += len(row["content"]) + len(row["metadata"] or "")
            if text >= PAGE_MAX_CHARACTERS or len(entries) == PAGE_MAX_ENTRIES:
                return Page(tuple(entries), entry.position, self.retention_floors())
        return Page(tuple(entries), upto, self.retention_floors())

    def locate(self, cursor: str) -> int | None:
        position = self._terms.position_of(cursor)
        return position if position is not None and position <= self.head_position() else None

    def retention_floors(self) -> Mapping[str, int]:
        found = fetch_all(self._connection, self._statements["floors_all"], {})
        return {row["namespace"]: row["position"] for row in found}

    def _scan_end(self, low: int, high: int) -> int:
        """How far one page may look: positions that were pruned cost nothing."""
        params = {"low": low, "high": high, "most": PAGE_MAX_SCANNED}
        found = fetch_all(self._connection, self._statements["log_stretch"], params)
        return int(found[0]["position"]) if found else high

    def snapshot_inline(self, queries: Sequence[Query], until: float, stride: int) -> Snapshot:
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

    def _run_job(self, job: Job[ReadWork]) -> object:
        """What `job` gives, or the exception that it ended with."""
        deadline = job.enqueued_at + self._timeout
        self._connection.set_progress_handler(
            lambda: self._clock.seconds() > deadline, _STEPS_PER_CLOCK_CHECK
        )
        try:
            self._connection.execute("BEGIN")
            return job.work(self)
        except Exception as error:  # is logged, or answered, where it was asked for
            return TimedOut("The database took too long") if self._clock.seconds() > deadline else error
        finally:
            self._connection.rollback()


ReadWork = Callable[[SqliteReader], object]  # done within one transaction
