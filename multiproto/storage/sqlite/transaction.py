"""Many units of work in one transaction, each of them whole or not at all.

A sync of the disk costs the same for one unit as for hundreds, so all that are
waiting share one.  Each runs in a savepoint; one that misses or clashes is
undone alone.  An event is written within its unit's savepoint: a later unit of
the same transaction must find it there when it redacts the events about its
subject.
"""

from __future__ import annotations

import sqlite3
from typing import Sequence

from attrs import define

from ...core.transactions import Event, Step, Unit
from ..jobs import PositionOrError
from ..rows import event_to_row
from ..statements import Statements
from .errors import as_damage, is_environmental
from .types import encode_parameters


@define(eq=False, repr=False)
class SqliteTransaction:
    """Holds the database's one write lock until `commit`, or until the connection rolls back."""

    _connection: sqlite3.Connection
    _statements: Statements
    initial_head: int  # position of the head when it began
    head: int  # position of the head now

    @classmethod
    def begin(cls, connection: sqlite3.Connection, statements: Statements) -> SqliteTransaction:
        connection.execute("BEGIN IMMEDIATE")
        (head,) = connection.execute(statements["log_head"]).fetchone()
        return cls(connection, statements, head, head)

    def execute_units(self, units: Sequence[Unit]) -> list[PositionOrError]:
        """Do `units`, in order.  Raises where the engine undid the whole transaction."""
        outcomes = [self._execute_unit(unit) for unit in units]
        if self.head > self.initial_head:
            self._connection.execute(self._statements["log_move_head"], {"position": self.head})
        return outcomes

    def commit(self) -> None:
        """Returns when the disk has it.  Raises `sqlite3.Error`: then it is unknown whether it was kept."""
        self._connection.execute("COMMIT")

    def _execute_unit(self, unit: Unit) -> PositionOrError:
        """The head's position behind `unit`; or undo it alone and return the reason."""
        self._connection.execute("SAVEPOINT unit")
        try:
            for step in unit.steps:
                self._execute_step(step)
            for position, event in enumerate(unit.events, self.head + 1):
                self._append_event(position, event)
        except Exception as error:  # whatever is wrong with this unit must not fail the others
            if not self._connection.in_transaction or is_environmental(error) or as_damage(error):
                raise  # a full disk may have undone the statement alone; behind a damaged page, COMMIT would fail
            self._connection.execute("ROLLBACK TO unit")
            self._connection.execute("RELEASE unit")
            return error
        self._connection.execute("RELEASE unit")
        self.head += len(unit.events)
        return self.head

    def _execute_step(self, step: Step) -> None:
        try:
            affected = self._connection.execute(
                self._statements[step.name], encode_parameters(step.params_behind(self.head))
            ).rowcount
        except sqlite3.IntegrityError:
            if step.clash is None:
                raise
            raise step.clash from None
        if step.expected_rows is not None and affected != step.expected_rows:
            raise step.miss or RuntimeError(f"{step.name} affected {affected} rows")

    def _append_event(self, position: int, event: Event) -> None:
        self._connection.execute(self._statements["log_append"], event_to_row(position, event))
