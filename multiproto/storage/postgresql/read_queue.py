"""Reads on a few connections: several in flight on each, the rest in one bounded queue.

Each read is one read-only transaction, and sees one snapshot.
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
from .session import session_settings

QUEUE_TIMEOUT = 1.75  # seconds that a read may wait for a connection: refused within two
MAX_PIPELINED_READS = 16  # reads in flight on one connection; a slow one holds up those behind it
GROW_ABOVE = 4  # reads in flight on every connection before one more is opened
SHRINK_AFTER = 60.0  # seconds without that until a connection is closed again


def read_session_settings(statement_timeout: float, schema: str | None = None) -> tuple[bytes, ...]:
    """The settings of a session for reads, each broken off after `statement_timeout` seconds."""
    return session_settings(
        schema,
        default_transaction_isolation="repeatable read",
        default_transaction_read_only="on",
        statement_timeout=f"{statement_timeout:.3f}s",
    )


@define(eq=False, repr=False)
class _QueuedRead:
    """A read that waits for a connection; a `Waiters` would not know its statements, nor since when it waits."""

    enqueued_at: float  # the clock's seconds
    calls: Sequence[StatementCall]
    result: Deferred[list[StatementResult]] = field(factory=Deferred)


@define(eq=False, repr=False)
class PostgresReadQueue:
    """Executes statements on the least busy connection, and opens or closes some as they are needed."""

    _connector: PostgresConnector
    _clock: IReactorTime
    _min_connections: int
    _max_connections: int
    _max_waiting: int  # queued reads; one more is refused
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
            self._on_unreachable,
        )

    def __len__(self) -> int:
        """How many reads wait for a connection."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._pool.connected)

    async def start(self) -> None:
        """Raises `DatabaseUnreachable`."""
        await self._pool.start()

    async def stop(self) -> None:
        self._refuse_all("The database is closed")
        await self._pool.stop()

    async def execute(self, calls: Sequence[StatementCall]) -> list[StatementResult]:
        """Raises `Unavailable`, or what `PostgresConnection.execute` does."""
        if self._pool.unreachable_reason is not None:
            raise Unavailable("The database is away")
        if len(self._queue) >= self._max_waiting:
            raise Unavailable("The database is overloaded")
        connection = self._available_connection()
        if connection is not None:
            return await self._execute_on(connection, calls)
        waiting = _QueuedRead(self._clock.seconds(), calls)
        self._queue.append(waiting)
        return await waiting.result

    def reconnect(self) -> None:
        """Close all connections, which are made anew: the name may lead elsewhere by now."""
        for connection in list(self._pool.connected):
            connection.abort("not the server that is written to")

    def check_timeouts(self) -> None:
        """Close connections that give no answer, and refuse reads that have waited too long."""
        now = self._clock.seconds()
        self._pool.check_timeouts()
        while self._queue and now - self._queue[0].enqueued_at >= QUEUE_TIMEOUT:
            self._queue.popleft().result.errback(Unavailable("The database is away or overloaded"))
        if now - self._last_crowded_at >= SHRINK_AFTER:
            self._last_crowded_at = now
            self._pool.shrink()

    def _available_connection(self) -> PostgresConnection | None:
        """The connection with the fewest reads in flight, if it may have one more."""
        connection = min(self._pool.connected, key=len, default=None)
        if connection is not None and len(connection) >= GROW_ABOVE:
            self._last_crowded_at = self._clock.seconds()
            self._pool.grow()
        return connection if connection is not None and len(connection) < MAX_PIPELINED_READS else None

    def _dequeue(self) -> None:
        """Execute waiting reads as far as the connections have room."""
        while self._queue and (connection := self._available_connection()) is not None:
            waiting = self._queue.popleft()
            Deferred.fromCoroutine(self._execute_on(connection, waiting.calls)).chainDeferred(waiting.result)

    async def _execute_on(
        self, connection: PostgresConnection, calls: Sequence[StatementCall]
    ) -> list[StatementResult]:
        try:
            return await connection.execute(calls)
        finally:
            if self._queue:
                self._dequeue()

    def _on_unreachable(self) -> None:
        self._refuse_all("The database is away")

    def _refuse_all(self, message: str) -> None:
        while self._queue:
            self._queue.popleft().result.errback(Unavailable(message))
