"""Runs two operations in all orders of their steps: each call of the store is a step, and waits to be chosen.

Two reads give the same whichever comes first, so of the orders that differ in nothing else only one is run:
the one where a read of the second operation has none of the first directly behind it (the reduction by partial
orders that model checkers use).
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine, Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred

from multiproto.core.ports import Store
from multiproto.core.transactions import Query, Snapshot, Unit

MAX_STEPS = 40  # of both; more would be a retry that never ends


@define(eq=False)
class SteppedStore:
    """A store for one operation: each call waits until it is that operation's turn."""

    store: Store
    waiting: Deferred[None] | None = None
    reads: bool = False  # the call that waits only reads
    on_change: Callable[[], object] = lambda: None

    async def read(self, *queries: Query) -> Snapshot:
        await self._turn(reads=True)
        return await self.store.read(*queries)

    async def commit(self, unit: Unit) -> str:
        await self._turn(reads=False)
        return await self.store.commit(unit)

    def cursor_of(self, position: int) -> str:
        return self.store.cursor_of(position)

    def cursors_of(self, positions: Sequence[int]) -> Sequence[str]:
        return self.store.cursors_of(positions)

    async def _turn(self, reads: bool) -> None:
        self.reads = reads
        turn = self.waiting = Deferred()
        self.on_change()  # which may choose this one at once
        await turn


@define(eq=False)
class Operation:
    """One of the two, from its start to its result."""

    store: SteppedStore
    result: str | None = None  # "ok", or the name of what it raised
    _changed: Deferred[None] = Factory(Deferred)

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        self.store.on_change = self._notify

        async def run() -> None:
            try:
                await work
                self.result = "ok"
            except Exception as error:
                self.result = type(error).__name__
            self._notify()

        Deferred.fromCoroutine(run())

    async def step(self) -> None:
        """Let its call of the store happen; returns at its next one, or at its end."""
        waiting, self.store.waiting = self.store.waiting, None
        assert waiting is not None
        self._changed = Deferred()
        waiting.callback(None)
        await self._changed

    def _notify(self) -> None:
        if not self._changed.called:
            self._changed.callback(None)


async def run_schedule(operations: tuple[Operation, Operation], schedule: tuple[int, ...]) -> list[int]:
    """Run both to their end, and return the choices that were made.

    There is a choice while both have steps left, and the order matters: `schedule` has the first ones, and
    then it is the first operation's turn.
    """
    first, second = operations
    made: list[int] = []
    second_has_read = False  # in the last step
    for _ in range(MAX_STEPS):
        ready = [number for number, each in enumerate(operations) if each.result is None]
        if not ready:
            return made
        if len(ready) == 1:
            chosen = ready[0]
        elif second_has_read and first.store.reads:
            chosen = 1
        else:
            chosen = schedule[len(made)] if len(made) < len(schedule) else 0
            made.append(chosen)
        second_has_read = chosen == 1 and second.store.reads
        await operations[chosen].step()
    raise AssertionError(f"no end after {MAX_STEPS} steps: {made}")


async def explore(
    run: Callable[[tuple[int, ...]], Awaitable[tuple[list[int], Any]]],
) -> dict[tuple[int, ...], Any]:
    """The outcome of each schedule; `run` gives the choices that it made and the outcome."""
    outcomes: dict[tuple[int, ...], Any] = {}
    to_run: list[tuple[int, ...]] = [()]
    while to_run:
        schedule = to_run.pop()
        made, outcomes[schedule] = await run(schedule)
        to_run += [(*made[:place], 1) for place in range(len(schedule), len(made))]
    return outcomes
