"""Many units of work in one transaction, on a database where other instances write too.

The head row is locked first and held to the commit, so all writers are serial:
positions are dense in commit order, a unit finds what any earlier one has
written, and no two writers wait for each other.  What gathers while the lock
is waited for goes into the same transaction.

All units are sent at once; only if one of them misses is all undone and done
again unit by unit, each in a savepoint of its own.
"""

from __future__ import annotations

from typing import Iterator, Mapping, Sequence, Union

from attrs import define

from ...core.errors import Unavailable
from ...core.ports import Step, Unit
from ..rows import row_of
from .faults import explained, violates
from .line import Call, Failed, Line, Result
from .statements import Statement

Outcome = Union[int, Exception]  # the position of the head behind a unit, or why nothing of it was done


@define(eq=False, repr=False)
class Transaction:
    """Holds the head's lock until `commit`, or until its line is cut."""

    _line: Line
    _statements: Mapping[str, Statement]
    id: str  # PostgreSQL's, by which its outcome can be asked for later
    before: int  # position of the head when it began
    term: int | None  # number of the newest term, if there is any
    head: int  # position of the head now

    @classmethod
    async def begin(cls, line: Line, statements: Mapping[str, Statement]) -> Transaction:
        """Returns once all other writers have committed.  Raises `Failed`, `Lost`."""
        names = ("begin", "head_lock", "terms_newest")
        _, locked, newest = await line.ask([Call(statements[name]) for name in names])
        (row,), (term,) = locked.rows, newest.rows
        return cls(line, statements, row["transaction"], row["position"], term["term"], row["position"])

    async def ask(self, name: str, **params: object) -> Result:
        (result,) = await self._line.ask([self._call(name, params)])
        return result

    async def attempt(self, units: Sequence[Unit]) -> list[Outcome]:
        """Do `units`, in order.  Raises `Lost`, or `Failed` where the whole transaction is beyond help."""
        outcomes = await self._all_at_once(units)
        return [await self._alone(unit) for unit in units] if outcomes is None else outcomes

    async def commit(self) -> None:
        """Raises `Unavailable` when nothing was kept, `Lost` when that is unknown."""
        calls = [self._call("commit")]
        if self.head > self.before:
            calls = [self._call("log_move_head", {"position": self.head}), self._call("log_notify"), *calls]
        try:
            results = await self._line.ask(calls)
        except Failed as failed:
            raise Unavailable("The database can't be written to") from failed
        if results[-1].command != "COMMIT":
            raise Unavailable("The database can't be written to")

    async def _all_at_once(self, units: Sequence[Unit]) -> list[Outcome] | None:
        """`None` when one of them failed; then all are undone."""
        head, calls = self.head, [self._call("unit_begin")]
        outcomes: list[Outcome] = []
        for unit in units:
            calls += self._calls(unit, head)
            head += len(unit.events)
            outcomes.append(head)
        try:
            results = iter((await self._line.ask(calls))[1:])
            if not any(_missed(unit, results) for unit in units):
                self.head = head
                return outcomes
            await self.ask("unit_undo")
        except Failed:
            await self.ask("unit_undo")
        except (ValueError, TypeError):  # a value that can't be sent: nothing was
            await self.ask("unit_begin")
        return None

    async def _alone(self, unit: Unit) -> Outcome:
        begin = [self._call("unit_end"), self._call("unit_begin")]
        try:
            results = await self._line.ask([*begin, *self._calls(unit, self.head)])
            failure = _missed(unit, iter(results[len(begin) :]))
        except Failed as failed:
            failure = _fault(unit, failed, failed.place - len(begin))
        except (ValueError, TypeError) as bug:
            return bug
        if failure is not None:
            await self.ask("unit_undo")
            return failure
        self.head += len(unit.events)
        return self.head

    def _calls(self, unit: Unit, head: int) -> list[Call]:
        steps = [self._call(step.name, step.params) for step in unit.steps]
        return steps + [
            self._call("log_append", row_of(position, event))
            for position, event in enumerate(unit.events, head + 1)
        ]

    def _call(self, name: str, params: Mapping[str, object] = {}) -> Call:  # noqa: B006
        return Call(self._statements[name], params)


def _missed(unit: Unit, results: Iterator[Result]) -> Exception | None:
    """What the first step of `unit` means that did not affect what it must; takes all its results."""
    found = [next(results) for _ in (*unit.steps, *unit.events)]
    for step, result in zip(unit.steps, found):
        if step.rows is not None and result.affected != step.rows:
            return step.miss or RuntimeError(f"{step.name} affected {result.affected} rows")
    return None


def _fault(unit: Unit, failed: Failed, place: int) -> Exception:
    """What the failure of a unit's statement at `place` means."""
    step: Step | None = unit.steps[place] if 0 <= place < len(unit.steps) else None
    if step is not None and step.clash is not None and violates(failed):
        return step.clash
    return explained(failed)
