"""The one writer of this file: a thread that commits all waiting units together."""

from __future__ import annotations

import sqlite3
from time import perf_counter
from typing import Callable, Sequence, Union

from attrs import define, field, frozen

from ...base.timestamps import format_timestamp
from ...core.errors import Unavailable
from ...core.transactions import Unit
from ..cursors import Terms, begin_term_steps
from ..jobs import MAX_BATCH, Job, outcome_unknown
from ..statements import Statements
from .connection import fetch_all
from .errors import as_damage
from .transaction import SqliteTransaction
from .types import encode_parameters

# Seconds of work in one transaction, or as many as the last sync took: what comes meanwhile waits for all of it, and
# for the answers to all of it, but half of the time is not to go into syncs.  Only where the event loop is busy, too,
# do as many units as share a sync take longer: hundreds took 0.1 s.
TRANSACTION_TIME = 0.005
MAX_TRANSACTION_TIME = 0.02  # seconds, however long a sync takes
MIN_BATCH = 16  # units in one transaction, however long they take, so that they share its sync

CursorOrError = Union[str, Exception]  # a unit's cursor, or why nothing of it was done


@frozen
class TransactionResult:
    """How a transaction ended."""

    outcomes: tuple[CursorOrError, ...]  # one for each unit, in order
    appended: int = 0  # events that the log grew by
    error: Exception | None = None  # what undid the whole transaction


@define(eq=False, repr=False)
class SqliteWriter:
    """The worker of the thread that writes; the only one in the process."""

    _connection: sqlite3.Connection
    _statements: Statements
    _terms: Terms
    # Called in this thread with each batch.
    _on_transaction_ended: Callable[[Sequence[Job[Unit]], TransactionResult], object]
    _max_batch: int = MAX_BATCH
    _timer: Callable[[], float] = perf_counter  # seconds
    max_jobs: int = field(init=False)  # as many as the last units' pace lets `TRANSACTION_TIME` have

    @max_jobs.default
    def _first_max_jobs(self) -> int:
        return self._max_batch

    def run_jobs(self, jobs: Sequence[Job[Unit]]) -> None:
        try:
            batch = self.commit([job.work for job in jobs])
        except Exception as bug:  # whatever happens, this thread must live on
            batch = TransactionResult((bug,) * len(jobs))
        self._on_transaction_ended(jobs, batch)

    def close(self) -> None:
        self._connection.close()

    def commit(self, units: Sequence[Unit]) -> TransactionResult:
        """Do `units` in order; returns when the disk has them."""
        try:
            transaction = SqliteTransaction.begin(self._connection, self._statements)
            began = self._timer()
            positions = transaction.execute_units(units)
            executed = self._timer()
        except sqlite3.Error as error:
            if len(units) > 1 and as_damage(error):
                return self._commit_separately(units)
            return self._roll_back(units, error, _write_failed)
        try:
            transaction.commit()
            self._adapt_max_jobs(len(units), executed - began, self._timer() - executed)
        except sqlite3.Error as error:
            # The journal may hold it whole, and it would then be there after a crash.  Not on a full disk: what is
            # written last makes it whole, and SQLite says that the disk is full only where a write was cut short.
            return self._roll_back(units, error, _write_failed if _is_full(error) else outcome_unknown)
        outcomes = (
            each if isinstance(each, Exception) else self._terms.cursor_of(each) for each in positions
        )
        return TransactionResult(tuple(outcomes), transaction.head - transaction.initial_head)

    def _commit_separately(self, units: Sequence[Unit]) -> TransactionResult:
        """Damage that one of `units` met undid them all: only those that meet it themselves shall fail."""
        self._connection.rollback()  # does nothing if the engine did it
        results = [self.commit([unit]) for unit in units]
        return TransactionResult(
            tuple(outcome for result in results for outcome in result.outcomes),
            sum(result.appended for result in results),
        )

    def _adapt_max_jobs(self, units: int, seconds: float, sync: float) -> None:
        """The next transaction's, after one in which `units` took `seconds`, and their sync `sync` seconds."""
        wanted = min(max(TRANSACTION_TIME, sync), MAX_TRANSACTION_TIME)
        at_this_pace = int(units * wanted / max(seconds, 1e-6))
        self.max_jobs = min(max(at_this_pace, MIN_BATCH), self._max_batch)

    def _roll_back(
        self, units: Sequence[Unit], error: Exception, outcome: Callable[[], Exception]
    ) -> TransactionResult:
        self._connection.rollback()  # does nothing if the engine did it
        return TransactionResult(tuple(as_damage(error) or outcome() for _ in units), error=error)


def _is_full(error: sqlite3.Error) -> bool:
    """A sync that fails for want of room is another error, of input and output."""
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL


def _write_failed() -> Exception:
    return Unavailable("The database can't be written to")


def begin_term(
    connection: sqlite3.Connection, statements: Statements, term: str, namespaces: Sequence[str], now: float
) -> Terms:
    """Begin a term with the id `term` for a writer that keeps `namespaces`; returns all terms of the log."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in begin_term_steps(term, namespaces, format_timestamp(now)):
            connection.execute(statements[step.name], encode_parameters(step.params))
        rows = fetch_all(connection, statements["terms_all"], {})
        connection.execute("COMMIT")
    finally:
        connection.rollback()  # does nothing after the commit
    return Terms.from_rows(rows)
