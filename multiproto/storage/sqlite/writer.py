"""Many units of work in one transaction, each of them whole or not at all.

A sync of the disk costs the same for one unit as for hundreds, so all that are
waiting share one.  Each runs in a savepoint; one that misses or clashes is
undone alone.  An event is written within its unit's savepoint: a later unit of
the same transaction must find it there when it blanks what was said of its
subject.
"""

from __future__ import annotations

import sqlite3
from typing import Callable, Sequence, Union

from attrs import define, frozen

from ...core.errors import DatabaseError, Unavailable
from ...core.model import format_timestamp
from ...core.transactions import Entry, Event, Step, Unit
from ..cursors import Term, Terms
from ..jobs import Job
from ..rows import event_to_row
from ..statements import Statements
from .connection import fetch_all
from .types import encode_parameters

CursorOrError = Union[str, Exception]  # a unit's cursor, or why nothing of it was done


@frozen
class TransactionResult:
    """How a transaction ended."""

    outcomes: tuple[CursorOrError, ...]  # one for each unit, in order
    appended: tuple[Entry, ...] = ()  # what the log grew by
    error: Exception | None = None  # what broke the whole of it


@define(eq=False, repr=False)
class SqliteWriter:
    """The one worker that writes."""

    _connection: sqlite3.Connection
    _statements: Statements
    _terms: Terms
    _on_transaction_ended: Callable[
        [Sequence[Job[Unit]], TransactionResult], object
    ]  # called in this thread with each batch

    def run_jobs(self, jobs: Sequence[Job[Unit]]) -> None:
        try:
            batch = self.commit([job.work for job in jobs])
        except Exception as bug:  # whatever happens, this thread must live on
            batch = TransactionResult((bug,) * len(jobs))
        self._on_transaction_ended(jobs, batch)

    def close(self) -> None:
        self._connection.close()

    def commit(self, units: Sequence[Unit]) -> TransactionResult:
        """Do `units` in order; the answer comes when the disk has them."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            batch = self._execute_units(units)
        except sqlite3.Error as error:
            return self._roll_back(units, error, _write_failed)
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # The journal may hold it whole, and it would then be there after a crash.
            return self._roll_back(units, error, _outcome_unknown)
        return batch

    def _execute_units(self, units: Sequence[Unit]) -> TransactionResult:
        """How this transaction ends if it is committed now."""
        (head,) = self._connection.execute(self._statements["log_head"]).fetchone()
        outcomes: list[CursorOrError] = []
        appended: list[Entry] = []
        for unit in units:
            failure = self._execute_unit(unit, head)
            if failure is None:
                for event in unit.events:
                    head += 1
                    appended.append(Entry(head, self._terms.cursor_of(head), event))
            outcomes.append(self._terms.cursor_of(head) if failure is None else failure)
        if appended:
            self._connection.execute(self._statements["log_move_head"], {"position": head})
        return TransactionResult(tuple(outcomes), tuple(appended))

    def _execute_unit(self, unit: Unit, head: int) -> Exception | None:
        """Do `unit`, or undo it alone and say why.  Raises when the engine undid the whole transaction."""
        self._connection.execute("SAVEPOINT unit")
        try:
            for step in unit.steps:
                self._execute_step(step)
            for position, event in enumerate(unit.events, head + 1):
                self._append_event(position, event)
        except Exception as error:  # whatever is wrong with this unit is no concern of the others
            if not self._connection.in_transaction:
                raise  # e.g. a full disk
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            return error
        self._connection.execute("RELEASE unit")
        return None

    def _execute_step(self, step: Step) -> None:
        try:
            affected = self._connection.execute(
                self._statements[step.name], encode_parameters(step.params)
            ).rowcount
        except sqlite3.IntegrityError:
            if step.clash is None:
                raise
            raise step.clash from None
        if step.expected_rows is not None and affected != step.expected_rows:
            raise step.miss or RuntimeError(f"{step.name} affected {affected} rows")

    def _append_event(self, position: int, event: Event) -> None:
        self._connection.execute(self._statements["log_append"], event_to_row(position, event))

    def _roll_back(
        self, units: Sequence[Unit], fault: Exception, outcome: Callable[[], Exception]
    ) -> TransactionResult:
        self._connection.rollback()  # does nothing if the engine did it
        return TransactionResult(tuple(outcome() for _ in units), error=fault)


def begin_term(
    connection: sqlite3.Connection, statements: Statements, term: str, namespaces: Sequence[str], now: float
) -> Terms:
    """A writer starts that keeps `namespaces`: all terms there are, the last of them new under the id `term`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(statements["term_begin"], {"id": term, "at": format_timestamp(now)})
        connection.execute(statements["floors_forget"], encode_parameters({"namespaces": namespaces}))
        connection.execute(statements["floors_begin"], encode_parameters({"namespaces": namespaces}))
        rows = fetch_all(connection, statements["terms_all"], {})
        connection.execute("COMMIT")
    finally:
        connection.rollback()  # does nothing behind the commit
    return Terms(tuple(Term(row["id"], row["first_position"]) for row in rows))


def _write_failed() -> Exception:
    return Unavailable("The database can't be written to")


def _outcome_unknown() -> Exception:
    return DatabaseError("It is unknown whether this was kept")
