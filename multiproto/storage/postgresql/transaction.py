"""Many units of work in one transaction, on a database where other instances write too.

The log is locked first and until the commit, so writers take turns: positions
are dense in commit order, a unit sees what earlier ones have written, and no
two writers deadlock.  Units that are queued while the lock is waited for go into
the same transaction.

Each transaction leaves a row of its own, the new head of the log, with a random
mark.  By that it is found out later whether a COMMIT without an answer was kept,
on whichever server: another transaction may have the same number there, and the
same id, but not the same mark.

All units are sent at once; only if one of them fails are all undone and executed
again unit by unit, each in a savepoint of its own.
"""

from __future__ import annotations

import secrets
from typing import Iterator, Mapping, Sequence

from attrs import define, field

from ...core.errors import Unavailable
from ...core.transactions import Step, Unit
from ..jobs import PositionOrError
from ..rows import event_to_row
from . import heads
from .connection import PostgresConnection, StatementCall, StatementResult
from .errors import StatementFailed, is_integrity_violation, to_refusal
from .heads import NO_HEAD, Head
from .statements import PreparedStatement

# What encoding a unit raises for an unknown statement, a missing parameter or a value without text: bugs of ours.
ENCODING_ERRORS = (KeyError, TypeError, ValueError)

HEADS_PRUNED_TOGETHER = 100  # by every hundredth transaction, so that pruning takes no time of its own


def new_mark() -> str:
    return secrets.token_hex(8)


@define(eq=False, repr=False)
class PostgresTransaction:
    """Holds the log's lock until `commit`, or until its connection is closed."""

    _connection: PostgresConnection
    _statements: Mapping[str, PreparedStatement]
    initial_head: Head  # when it began
    newest_term_number: int | None  # number of the newest term, if there is any
    knows_head: bool  # whether the head that was known is part of this log
    is_new_copy: bool  # whether the newest term began in another copy of the log
    position: int  # of the newest event now
    _mark: str = field(factory=new_mark)

    @classmethod
    async def begin(
        cls,
        connection: PostgresConnection,
        statements: Mapping[str, PreparedStatement],
        known: Head = NO_HEAD,
    ) -> PostgresTransaction:
        """Returns once all other writers have committed; `known` is a head that should be there.

        Raises `StatementFailed`, `DatabaseConnectionLost`.
        """
        calls = [
            StatementCall(statements["begin"]),
            StatementCall(statements["log_lock"]),
            StatementCall(statements["head_locked"], {"known": known.number}),
        ]
        (row,) = (await connection.execute(calls))[-1].rows
        head = Head.from_row(row)
        knows_head = known is NO_HEAD or row["known"] == known.mark
        is_new_copy = row["term_copy"] != row["copy"]
        return cls(connection, statements, head, row["term"], knows_head, is_new_copy, head.position)

    @property
    def head(self) -> Head:
        """The log's, once this is committed."""
        return Head(self.initial_head.number + 1, self.position, self._mark)

    async def has_head(self, head: Head) -> bool:
        """Whether the transaction that left `head` is part of this log."""
        found = await self.execute("head_mark", number=head.number)
        return bool(found.rows) and found.rows[0]["mark"] == head.mark

    async def execute(self, name: str, **params: object) -> StatementResult:
        (result,) = await self._connection.execute([self._call(name, params)])
        return result

    async def execute_units(self, units: Sequence[Unit]) -> list[PositionOrError]:
        """Do `units`, in order.  Raises `DatabaseConnectionLost`, or `StatementFailed` where the transaction must be rolled back."""
        outcomes = await self._execute_together(units)
        return [await self._execute_unit(unit) for unit in units] if outcomes is None else outcomes

    async def commit(self) -> None:
        """Raises `Unavailable` when nothing was kept, `DatabaseConnectionLost` when that is unknown."""
        head = self.head
        calls = [
            self._call("head_add", {"number": head.number, "position": head.position, "mark": head.mark})
        ]
        if head.number % HEADS_PRUNED_TOGETHER == 0:  # as no other transaction that is committed
            oldest = head.number - heads.HEADS_KEPT
            calls.append(self._call("heads_prune", {"low": oldest - HEADS_PRUNED_TOGETHER, "high": oldest}))
        if head.position > self.initial_head.position:
            calls.append(self._call("log_notify"))
        calls.append(self._call("commit"))
        try:
            results = await self._connection.execute(calls)
        except StatementFailed as failed:
            raise Unavailable("The database can't be written to") from failed
        if results[-1].command_tag != "COMMIT":
            raise Unavailable("The database can't be written to")

    async def _execute_together(self, units: Sequence[Unit]) -> list[PositionOrError] | None:
        """Send all `units` together; `None` when one of them failed: then all are undone."""
        position, calls = self.position, [self._call("unit_begin")]
        outcomes: list[PositionOrError] = []
        try:
            for unit in units:
                calls += self._unit_calls(unit, position)
                position += len(unit.events)
                outcomes.append(position)
            affected = iter([result.affected for result in (await self._connection.execute(calls))[1:]])
            if not any(_find_miss(unit.steps, _take(unit, affected)) for unit in units):
                self.position = position
                return outcomes
            await self.execute("unit_undo")
        except StatementFailed:
            await self.execute("unit_undo")
        except ENCODING_ERRORS:  # of one unit: nothing was sent
            await self.execute("unit_begin")
        return None

    async def _execute_unit(self, unit: Unit) -> PositionOrError:
        begin = [self._call("unit_end"), self._call("unit_begin")]
        try:
            results = await self._connection.execute([*begin, *self._unit_calls(unit, self.position)])
            failure = _find_miss(unit.steps, [result.affected for result in results[len(begin) :]])
        except StatementFailed as failed:
            # A step that misses may be why a later one violates a constraint.
            failure = _find_miss(unit.steps, failed.affected[len(begin) :]) or _unit_error(
                unit, failed, failed.index - len(begin)
            )
        except ENCODING_ERRORS as bug:
            return bug
        if failure is not None:
            await self.execute("unit_undo")
            return failure
        self.position += len(unit.events)
        return self.position

    def _unit_calls(self, unit: Unit, after: int) -> list[StatementCall]:
        steps = [self._call(step.name, step.params_behind(after)) for step in unit.steps]
        return steps + [
            self._call("log_append", event_to_row(position, event))
            for position, event in enumerate(unit.events, after + 1)
        ]

    def _call(self, name: str, params: Mapping[str, object] = {}) -> StatementCall:  # noqa: B006
        return StatementCall(self._statements[name], params)


def _take(unit: Unit, affected: Iterator[int]) -> list[int]:
    """Consume the numbers of rows of all statements of `unit`."""
    return [next(affected) for _ in (*unit.steps, *unit.events)]


def _find_miss(steps: Sequence[Step], affected: Sequence[int]) -> Exception | None:
    """The error of the first of `steps`, as far as they were executed, that affected the wrong number of rows."""
    for step, count in zip(steps, affected):
        if step.expected_rows is not None and count != step.expected_rows:
            return step.miss or RuntimeError(f"{step.name} affected {count} rows")
    return None


def _unit_error(unit: Unit, failed: StatementFailed, index: int) -> Exception:
    """The error of a unit whose statement at `index` failed."""
    step: Step | None = unit.steps[index] if 0 <= index < len(unit.steps) else None
    if step is not None and step.clash is not None and is_integrity_violation(failed):
        return step.clash
    return to_refusal(failed)
