"""What is read from the store, each time in one snapshot, on connections that can't write."""

from __future__ import annotations

import sqlite3
from typing import Callable, ClassVar, Mapping, Sequence, TypeVar

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ...core.errors import TimedOut
from ...core.transactions import Entry, Page, Query, Row, Snapshot
from ..cursors import Terms
from ..erasures import PendingErasures
from ..jobs import Job
from ..pages import PageBuilder, floors_from_rows, json_prefix, scan_end, scan_query
from ..rows import entry_from_row
from ..statements import Statements
from .connection import fetch_all, iterate_rows
from .errors import as_damage

STEPS_PER_CLOCK_CHECK = 10_000  # steps of SQLite's machine, well under a millisecond

T = TypeVar("T")


@define(eq=False, repr=False)
class SqliteReader:
    """A worker with a connection of its own, and all that can be read with it."""

    _connection: sqlite3.Connection
    _statements: Statements
    _terms: Terms
    _on_outcome: Callable[[Job[ReadWork], object], object]  # called in this thread with each outcome
    _clock: IReactorTime
    _timeout: float  # seconds from call until a read is broken off

    max_jobs: ClassVar[int] = 1

    def run_jobs(self, jobs: Sequence[Job[ReadWork]]) -> None:
        for job in jobs:
            self._on_outcome(job, self._run_job(job))

    def close(self) -> None:
        self._connection.close()

    # What a `ReadWork` may call.

    def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position = self.head_position()
        return Snapshot(tuple(map(self._execute, queries)), self._terms.cursor_of(position))

    def head_position(self) -> int:
        return int(self._connection.execute(self._statements["log_head"]).fetchone()[0])

    def head(self) -> tuple[int, str]:
        position = self.head_position()
        return position, self._terms.cursor_of(position)

    def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        rows = self._execute(Query("log_after", {"position": position, "limit": limit}))
        entries = tuple(entry_from_row(row, self._terms) for row in rows)
        if rows and rows[0]["erasing"]:
            return tuple(map(self._pending_erasures().apply, entries))
        return entries

    def read_page(self, lead: str, low: int, high: int) -> Page:
        high = scan_end(self._execute(scan_query(low, high)), high)
        params = {"lead": json_prefix(lead), "low": low, "high": high}
        page = PageBuilder(lead, high, self._terms, self._pending_erasures())
        for row in iterate_rows(self._connection, self._statements["log_page"], params):
            if not page.add(row):
                break
        return page.build(self.retention_floors())

    def locate(self, cursor: str) -> int | None:
        position = self._terms.position_of(cursor)
        return position if position is not None and position <= self.head_position() else None

    def retention_floors(self) -> Mapping[str, int]:
        return floors_from_rows(self._execute(Query("floors_all")))

    def run_in_transaction(self, work: Callable[[], T], deadline: float, stride: int) -> T:
        """Do `work`, which calls this reader, in the caller's thread and in one transaction.

        Raises `sqlite3.Error`, also when it is not done by `deadline`: the clock is
        checked every `stride` steps of SQLite's machine.
        """
        self._connection.set_progress_handler(lambda: self._clock.seconds() > deadline, stride)
        try:
            self._connection.execute("BEGIN")
            return work()
        finally:
            self._connection.rollback()

    def _pending_erasures(self) -> PendingErasures:
        return PendingErasures.from_rows(self._execute(Query("erasures_pending")))

    def _execute(self, query: Query) -> tuple[Row, ...]:
        return fetch_all(self._connection, self._statements[query.name], query.params)

    def _run_job(self, job: Job[ReadWork]) -> object:
        """The result of `job`, or the exception that it ended with."""
        deadline = job.enqueued_at + self._timeout
        try:
            return self.run_in_transaction(lambda: job.work(self), deadline, STEPS_PER_CLOCK_CHECK)
        except Exception as error:  # `JobCompletion` logs what is no refusal
            if self._clock.seconds() > deadline:
                return TimedOut("The database took too long")
            return as_damage(error) or error


ReadWork = Callable[[SqliteReader], object]  # done within one transaction
