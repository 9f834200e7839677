"""Reads on a few lines: many under way on each, the rest in one bounded queue.

Each is one transaction that can only read and sees one snapshot.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...core.errors import Unavailable
from .connection import PostgresConnection, StatementCall, StatementResult
from .connector import PostgresConnector
from .pool import PostgresPool

QUEUE_TIMEOUT = 1.75  # seconds that a read may wait for a line: refused within two
MAX_PIPELINED_READS = 16  # reads under way on one line; a slow one holds up those behind it
GROW_ABOVE = 4  # on every line: one more line would be of use
SHRINK_AFTER = 60.0  # seconds without that until a line is given up again


def read_session_settings(patience: float) -> tuple[bytes, ...]:
    """What makes a session fit for reads, each broken off after `patience` seconds."""
    return (
        b"SET default_transaction_isolation = 'repeatable read'",
        b"SET default_transaction_read_only = on",
        b"SET statement_timeout = %d" % (patience * 1000),
    )


@define(eq=False, repr=False)
class _QueuedRead:
    enqueued_at: float  # the clock's seconds
    calls: Sequence[StatementCall]
    result: Deferred[list[StatementResult]] = field(factory=Deferred)


@define(eq=False, repr=False)
class PostgresReadQueue:
    _connector: PostgresConnector
    _clock: IReactorTime
    _min_connections: int  # lines
    _max_connections: int
    _max_waiting: int  # reads that may wait; one more is refused
    _queue: Deque[_QueuedRead] = field(factory=deque, init=False)
    _pool: PostgresPool = field(init=False)
    _last_crowded_at: float = field(default=0.0, init=False)

    @_pool.default
    def _make_pool(self) -> PostgresPool:
        return PostgresPool(
            self._connector,
            self._clock,
            self._min_connections,
            self._max_connections,
            self._dequeue,
            self._fail_all_waiting,
        )

    def __len__(self) -> int:
        """How many wait for a line."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._pool.connected)

    async def start(self) -> None:
        """Raises `Away`."""
        await self._pool.start()

    async def stop(self) -> None:
        self._fail_all_waiting("The database is closed")
        await self._pool.stop()

    async def execute(self, calls: Sequence[StatementCall]) -> list[StatementResult]:
        """Raises `Unavailable`, or what `PostgresConnection.execute` does."""
        if self._pool.unreachable_reason is not None:
            raise Unavailable("The database is away")
        if len(self._queue) >= self._max_waiting:
            raise Unavailable("The database is overloaded")
        line = self._available_connection()
        if line is not None:
            return await self._execute_on(line, calls)
        waiting = _QueuedRead(self._clock.seconds(), calls)
        self._queue.append(waiting)
        return await waiting.result

    def check_timeouts(self) -> None:
        """Time has gone by: cut lines that owe an answer, refuse who has waited too long."""
        now = self._clock.seconds()
        self._pool.check_timeouts()
        while self._queue and now - self._queue[0].enqueued_at >= QUEUE_TIMEOUT:
            self._queue.popleft().result.errback(Unavailable("The database is away or overloaded"))
        if now - self._last_crowded_at >= SHRINK_AFTER:
            self._last_crowded_at = now
            self._pool.shrink()

    def _available_connection(self) -> PostgresConnection | None:
        """The line with the least to do, if it may have more."""
        line = min(self._pool.connected, key=len, default=None)
        if line is not None and len(line) >= GROW_ABOVE:
            self._last_crowded_at = self._clock.seconds()
            self._pool.grow()
        return line if line is not None and len(line) < MAX_PIPELINED_READS else None

    def _dequeue(self) -> None:
        """Those that wait, as far as there is room."""
        while self._queue and (line := self._available_connection()) is not None:
            waiting = self._queue.popleft()
            Deferred.fromCoroutine(self._execute_on(line, waiting.calls)).chainDeferred(waiting.result)

    async def _execute_on(
        self, line: PostgresConnection, calls: Sequence[StatementCall]
    ) -> list[StatementResult]:
        try:
            return await line.execute(calls)
        finally:
            if self._queue:
                self._dequeue()

    def _fail_all_waiting(self, why: str) -> None:
        while self._queue:
            self._queue.popleft().result.errback(Unavailable("The database is away"))
