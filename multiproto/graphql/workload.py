"""What one socket has under way: operations that begin in turn, and answer when the line takes it."""

from __future__ import annotations

from collections import deque
from typing import Awaitable, Callable, Deque

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import Internal, RateLimited, Unavailable
from ..core.wire import Ping, Why
from . import codec
from .context import Caller
from .execute import Operation, Operations, Request, Stream
from .faults import Declined, refused
from .negotiate import BadRequest
from .valve import Valve

MAX_OPERATIONS = 100  # on one socket at a time, subscriptions included
BUSY = 8  # operations begun and not yet answered, from which on the socket is not read

# Endings that the socket shares with its subscriptions, and says itself.
SHARED = (Why.SHUTDOWN, Why.EXPIRED, Why.REVOKED)


@define(eq=False, repr=False)
class Running:
    id: str
    request: Request
    stopped: bool = False  # nothing more is to be said of it
    changes: bool = False  # a mutation that is being executed
    stream: Stream | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.stream is not None:
            self.stream.leave()


@define(eq=False, repr=False)
class Workload:
    _operations: Operations
    _clock: IReactorTime
    _valve: Valve
    _caller: Callable[[], Awaitable[Caller]]  # may end the session, and so stop everything
    _write: Callable[[bytes], object]
    _busy: Callable[[bool], object]  # told whether there is enough to do
    _running: dict[str, Running] = Factory(dict)  # by id
    _waiting: Deque[Running] = Factory(deque)  # to begin, one in each turn of the reactor
    _unanswered: int = field(default=0, init=False)
    _wound_up: Callable[[], object] | None = field(default=None, init=False)

    _log = Logger()

    def __contains__(self, id: str) -> bool:
        return id in self._running

    def begin(self, id: str, request: Request | BadRequest) -> None:
        """Execute `request` under an `id` that is free; what is wrong with it is its answer."""
        if isinstance(request, Request) and len(self._running) < MAX_OPERATIONS:
            running = self._running[id] = Running(id, request)
            self._count(1)
            self._waiting.append(running)
            if len(self._waiting) == 1:
                self._clock.callLater(0, self._begin_next)
            return
        full = RateLimited(f"At most {MAX_OPERATIONS} operations at a time")
        self._write(codec.error(id, [refused(full if isinstance(request, Request) else request)]))

    def complete(self, id: str) -> None:
        """The client has done with it; one that has ended by itself is no fault."""
        running = self._running.pop(id, None)
        if running is not None:
            running.stop()
            self._settle()

    def stop(self) -> None:
        """Nothing is left of any."""
        running, self._running, self._wound_up = self._running, {}, None
        for each in running.values():
            each.stop()

    def wind_up(self, then: Callable[[], object]) -> None:
        """Stop all but mutations that are being executed; call `then` when they are answered.

        One of them may be what ends the socket, as `logout` is.
        """
        left = {id: each for id, each in self._running.items() if each.changes}
        for each in self._running.values():
            if not each.changes:
                each.stop()
        self._running, self._wound_up = left, then
        self._settle()

    def _settle(self) -> None:
        if self._wound_up is not None and not self._running:
            wound_up, self._wound_up = self._wound_up, None
            wound_up()

    def _begin_next(self) -> None:
        """One in a turn: checking a document may take a while, and others want to be served too."""
        running = self._waiting.popleft()
        if self._waiting:
            self._clock.callLater(0, self._begin_next)
        Deferred.fromCoroutine(self._run(running)).addErrback(self._broken, running)

    async def _run(self, running: Running) -> None:
        try:
            caller = await self._caller()
            if running.stopped:
                return
            operation = self._operations.prepare(running.request)
            if operation.kind == "subscription":
                running.stream = await self._operations.subscribe(operation, caller)
            else:
                running.changes = operation.kind == "mutation"
                await self._answer(running, operation, caller)
        except Declined as declined:
            self._finish(running, codec.error(running.id, declined.errors))
        except Unavailable as unavailable:
            self._finish(running, codec.error(running.id, [refused(unavailable)]))
        finally:
            self._count(-1)
        if running.stream is not None:
            await self._follow(running, running.stream)

    async def _answer(self, running: Running, operation: Operation, caller: Caller) -> None:
        payload = await self._operations.run(operation, caller)
        await self._valve.opened()
        if not running.stopped:
            self._write(codec.next_result(running.id, payload))
            self._finish(running, codec.complete(running.id))

    async def _follow(self, running: Running, stream: Stream) -> None:
        try:
            while not running.stopped and (payload := await stream.next()) is not None:
                await self._valve.opened()
                if not running.stopped and not isinstance(payload, Ping):
                    self._write(codec.next_result(running.id, payload))
            why = stream.farewell
            if why is not None and why.why not in SHARED:
                ended = Unavailable(why.message, {"cursor": why.cursor} if why.cursor else None)
                self._finish(running, codec.error(running.id, [refused(ended)]))
        finally:
            stream.leave()

    def _finish(self, running: Running, last: bytes) -> None:
        """Say the last of an operation, unless the client has done with it; its id is free again."""
        if not running.stopped:
            running.stopped = True
            del self._running[running.id]
            self._write(last)
            self._settle()

    def _broken(self, failure: Failure, running: Running) -> None:
        self._log.failure("a GraphQL operation broke", failure=failure)
        self._finish(running, codec.error(running.id, [refused(Internal())]))

    def _count(self, change: int) -> None:
        self._unanswered += change
        self._busy(self._unanswered >= BUSY)
