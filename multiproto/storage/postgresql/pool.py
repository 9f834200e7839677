"""Keeps some lines to PostgreSQL up, and makes them anew when they are lost.

After a failed attempt the next comes in `INITIAL_BACKOFF` seconds, then in twice
as many, up to `MAX_BACKOFF`: a database that is back is found within that.
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .connection import PostgresConnection
from .connector import PostgresConnector
from .errors import DatabaseUnreachable

INITIAL_BACKOFF = 0.05  # seconds
MAX_BACKOFF = 0.8


@define(eq=False, repr=False)
class PostgresPool:
    _connector: PostgresConnector
    _clock: IReactorTime
    _min_connections: int  # lines that are kept
    _max_connections: int
    _on_connected: Callable[[], object]  # a line more
    _on_unreachable: Callable[[str], object]  # there is none, and none to be had
    connected: list[PostgresConnection] = field(factory=list, init=False)
    unreachable_reason: str | None = field(default=None, init=False)  # why there is none
    _target_size: int = field(default=0, init=False)
    _connecting: Deferred[None] | None = field(default=None, init=False)
    _backing_off: Deferred[None] | None = field(default=None, init=False)

    _log = Logger()

    async def start(self) -> None:
        """Returns when one line is up.  Raises `DatabaseUnreachable`."""
        self.connected.append(await self._connector.connect(self._on_connection_lost))
        self._target_size = self._min_connections
        self._start_connecting()

    async def stop(self) -> None:
        """Cut all."""
        self._target_size = 0
        if self._backing_off is not None:
            self._backing_off.cancel()
        if self._connecting is not None:
            await self._connecting
        while self.connected:
            self.connected[-1].abort()

    def grow(self) -> None:
        """One more would be of use."""
        if self._target_size == len(self.connected) < self._max_connections:
            self._target_size += 1
            self._start_connecting()

    def shrink(self) -> None:
        """One would do less; an idle one goes."""
        idle = [line for line in self.connected if not line]
        if idle and self._target_size == len(self.connected) > self._min_connections:
            self._target_size -= 1
            idle[0].abort()

    def check_timeouts(self) -> None:
        """Cut those that owe an answer for too long."""
        for line in list(self.connected):
            line.check_timeout()

    def _on_connection_lost(self, line: PostgresConnection) -> None:
        if line in self.connected:
            self.connected.remove(line)
            self._target_size = min(self._target_size, max(self._min_connections, len(self.connected)))
            self._start_connecting()

    def _start_connecting(self) -> None:
        if self._connecting is None and len(self.connected) < self._target_size:
            keeping = self._connecting = Deferred.fromCoroutine(self._connect_to_target())
            keeping.addErrback(lambda failure: self._log.failure("can't keep connections", failure))
            keeping.addBoth(self._on_connecting_ended)

    def _on_connecting_ended(self, _: object) -> None:
        self._connecting = None

    async def _connect_to_target(self) -> None:
        pause = INITIAL_BACKOFF
        while len(self.connected) < self._target_size:
            try:
                line = await self._connector.connect(self._on_connection_lost)
            except DatabaseUnreachable as away:
                await self._back_off(pause, str(away))
                pause = min(2 * pause, MAX_BACKOFF)
            else:
                self._add(line)

    def _add(self, line: PostgresConnection) -> None:
        if not self._target_size:
            line.abort()
        elif not line.is_lost:
            self.connected.append(line)
            if self.unreachable_reason is not None:
                self._log.info("the database is back")
                self.unreachable_reason = None
            self._on_connected()

    async def _back_off(self, pause: float, why: str) -> None:
        if not self.connected:
            if self.unreachable_reason is None:
                self._log.error("the database is away: {why}", why=why)
            self.unreachable_reason = why
            self._on_unreachable(why)
        if self._target_size:
            self._backing_off = deferLater(self._clock, pause)
            await self._backing_off.addErrback(lambda cancelled: None)
            self._backing_off = None
