"""Keeps some connections to PostgreSQL open, and replaces those that are lost.

After a failed attempt the next follows a `Backoff`: a database that is back is
found within `MAX_BACKOFF` seconds.
"""

from __future__ import annotations

from functools import partial
from typing import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from ...base.backoff import Backoff
from .connection import PostgresConnection
from .connector import PostgresConnector
from .errors import DatabaseUnreachable

INITIAL_BACKOFF = 0.05  # seconds
MAX_BACKOFF = 0.8  # seconds


@define(eq=False, repr=False)
class PostgresPool:
    """From `min_connections` to `max_connections` of one kind, or fewer while the database can't be reached."""

    _connector: PostgresConnector
    _clock: IReactorTime
    _min_connections: int
    _max_connections: int
    _on_connected: Callable[[], object]  # called with each new connection
    _on_unreachable: Callable[[], object]  # called with each failed attempt while there is no connection
    connected: list[PostgresConnection] = field(factory=list, init=False)
    unreachable_reason: str | None = field(default=None, init=False)  # why there is no connection
    _target_size: int = field(default=0, init=False)
    _connecting: Deferred[None] | None = field(default=None, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)  # until the next attempt
    _backoff: Backoff = field(factory=partial(Backoff, INITIAL_BACKOFF, MAX_BACKOFF), init=False)

    _log = Logger()

    async def start(self) -> None:
        """Returns when one connection is open.  Raises `DatabaseUnreachable`."""
        self.connected.append(await self._connector.connect(self._on_connection_lost))
        self._target_size = self._min_connections
        self._start_connecting()

    async def stop(self) -> None:
        """Close all connections."""
        self._target_size = 0
        if self._waiting is not None:
            self._waiting.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        while self.connected:
            self.connected[-1].abort()

    def grow(self) -> None:
        """Open one more connection, unless there are enough or one is being opened."""
        if self._target_size == len(self.connected) < self._max_connections:
            self._target_size += 1
            self._start_connecting()

    def shrink(self) -> None:
        """Close an idle connection, if there are more than the least."""
        idle = [connection for connection in self.connected if not connection]
        if idle and self._target_size == len(self.connected) > self._min_connections:
            self._target_size -= 1
            idle[0].abort()

    def check_timeouts(self) -> None:
        """Close connections whose oldest statement has waited too long for its result."""
        for connection in list(self.connected):
            connection.check_timeout()

    def _on_connection_lost(self, connection: PostgresConnection) -> None:
        if connection in self.connected:
            self.connected.remove(connection)
            self._target_size = min(self._target_size, max(self._min_connections, len(self.connected)))
            self._start_connecting()

    def _start_connecting(self) -> None:
        if self._connecting is None and len(self.connected) < self._target_size:
            keeping = self._connecting = Deferred.fromCoroutine(self._connect_to_target())
            keeping.addErrback(lambda failure: failure.trap(CancelledError))  # by `stop`
            keeping.addErrback(lambda failure: self._log.failure("can't keep connections", failure))
            keeping.addBoth(self._on_connecting_ended)

    def _on_connecting_ended(self, _: object) -> None:
        self._connecting = None

    async def _connect_to_target(self) -> None:
        while len(self.connected) < self._target_size:
            try:
                connection = await self._connector.connect(self._on_connection_lost)
            except DatabaseUnreachable as away:
                await self._back_off(str(away))
            else:
                self._add(connection)

    def _add(self, connection: PostgresConnection) -> None:
        if not self._target_size:
            connection.abort()
        elif not connection.is_lost:
            self._backoff.reset()
            self.connected.append(connection)
            if self.unreachable_reason is not None:
                self._log.info("the database is back")
                self.unreachable_reason = None
            self._on_connected()

    async def _back_off(self, why: str) -> None:
        if not self.connected:
            if self.unreachable_reason is None:
                self._log.error("the database is away: {why}", why=why)
            self.unreachable_reason = why
            self._on_unreachable()
        if self._target_size:
            self._waiting = deferLater(self._clock, self._backoff.next_delay())
            await self._waiting.addErrback(lambda cancelled: None)
            self._waiting = None
