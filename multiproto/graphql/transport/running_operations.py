"""What one socket has under way: operations that begin in turn, and answer when the line takes it."""

from __future__ import annotations

from collections import deque
from typing import Awaitable, Callable, Deque

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.errors import InternalError, RateLimited, Unavailable
from ...core.protocol import CloseReason, Ping
from ..execution.context import Caller
from ..execution.errors import RequestError, format_refusal
from ..execution.execute import OperationExecutor, PreparedOperation
from ..execution.request import BadGraphQLRequest, GraphQLRequest
from ..execution.subscriptions import ResponseStream
from . import transport_ws
from .flow_control import FlowControl

MAX_RUNNING_OPERATIONS = 100  # on one socket at a time, subscriptions included
PAUSE_READING_AT = 8  # operations begun and not yet answered, from which on the socket is not read

# Endings that the socket shares with its subscriptions, and says itself.
CONNECTION_WIDE_REASONS = (CloseReason.SHUTDOWN, CloseReason.TOKEN_EXPIRED, CloseReason.REVOKED)


@define(eq=False, repr=False)
class SocketOperation:
    id: str
    request: GraphQLRequest
    stopped: bool = False  # nothing more is to be said of it
    is_mutating: bool = False  # a mutation that is being executed
    stream: ResponseStream | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.stream is not None:
            self.stream.close()


@define(eq=False, repr=False)
class RunningOperations:
    _operation_executor: OperationExecutor
    _clock: IReactorTime
    _flow_control: FlowControl
    _get_caller: Callable[[], Awaitable[Caller]]  # may end the session, and so stop everything
    _send: Callable[[bytes], object]
    _on_busy: Callable[[bool], object]  # told whether there is enough to do
    _running: dict[str, SocketOperation] = Factory(dict)  # by id
    _queue: Deque[SocketOperation] = Factory(deque)  # to begin, one in each turn of the reactor
    _unanswered: int = field(default=0, init=False)
    _on_drained: Callable[[], object] | None = field(default=None, init=False)

    _log = Logger()

    def __contains__(self, id: str) -> bool:
        return id in self._running

    def start(self, id: str, request: GraphQLRequest | BadGraphQLRequest) -> None:
        """Execute `request` under an `id` that is free; what is wrong with it is its answer."""
        if isinstance(request, GraphQLRequest) and len(self._running) < MAX_RUNNING_OPERATIONS:
            running = self._running[id] = SocketOperation(id, request)
            self._change_unanswered(1)
            self._queue.append(running)
            if len(self._queue) == 1:
                self._clock.callLater(0, self._start_next)
            return
        full = RateLimited(f"At most {MAX_RUNNING_OPERATIONS} operations at a time")
        self._send(
            transport_ws.encode_error(
                id, [format_refusal(full if isinstance(request, GraphQLRequest) else request)]
            )
        )

    def complete(self, id: str) -> None:
        """The client has done with it; one that has ended by itself is no fault."""
        running = self._running.pop(id, None)
        if running is not None:
            running.stop()
            self._notify_if_drained()

    def stop(self) -> None:
        """Nothing is left of any."""
        running, self._running, self._on_drained = self._running, {}, None
        for each in running.values():
            each.stop()

    def drain(self, then: Callable[[], object]) -> None:
        """Stop all but mutations that are being executed; call `then` when they are answered.

        One of them may be what ends the socket, as `logout` is.
        """
        left = {id: each for id, each in self._running.items() if each.is_mutating}
        for each in self._running.values():
            if not each.is_mutating:
                each.stop()
        self._running, self._on_drained = left, then
        self._notify_if_drained()

    def _notify_if_drained(self) -> None:
        if self._on_drained is not None and not self._running:
            wound_up, self._on_drained = self._on_drained, None
            wound_up()

    def _start_next(self) -> None:
        """One in a turn: checking a document may take a while, and others want to be served too."""
        running = self._queue.popleft()
        if self._queue:
            self._clock.callLater(0, self._start_next)
        Deferred.fromCoroutine(self._run(running)).addErrback(self._on_failure, running)

    async def _run(self, running: SocketOperation) -> None:
        try:
            caller = await self._get_caller()
            if running.stopped:
                return
            operation = self._operation_executor.prepare(running.request)
            if operation.kind == "subscription":
                running.stream = await self._operation_executor.subscribe(operation, caller)
            else:
                running.is_mutating = operation.kind == "mutation"
                await self._send_result(running, operation, caller)
        except RequestError as declined:
            self._finish(running, transport_ws.encode_error(running.id, declined.errors))
        except Unavailable as unavailable:
            self._finish(running, transport_ws.encode_error(running.id, [format_refusal(unavailable)]))
        finally:
            self._change_unanswered(-1)
        if running.stream is not None:
            await self._send_stream(running, running.stream)

    async def _send_result(
        self, running: SocketOperation, operation: PreparedOperation, caller: Caller
    ) -> None:
        payload = await self._operation_executor.execute(operation, caller)
        await self._flow_control.wait_until_writable()
        if not running.stopped:
            self._send(transport_ws.encode_next(running.id, payload))
            self._finish(running, transport_ws.encode_complete(running.id))

    async def _send_stream(self, running: SocketOperation, stream: ResponseStream) -> None:
        try:
            while not running.stopped and (payload := await stream.next()) is not None:
                await self._flow_control.wait_until_writable()
                if not running.stopped and not isinstance(payload, Ping):
                    self._send(transport_ws.encode_next(running.id, payload))
            why = stream.farewell
            if why is not None and why.reason not in CONNECTION_WIDE_REASONS:
                ended = Unavailable(why.message, {"cursor": why.cursor} if why.cursor else None)
                self._finish(running, transport_ws.encode_error(running.id, [format_refusal(ended)]))
        finally:
            stream.close()

    def _finish(self, running: SocketOperation, last: bytes) -> None:
        """Say the last of an operation, unless the client has done with it; its id is free again."""
        if not running.stopped:
            running.stopped = True
            del self._running[running.id]
            self._send(last)
            self._notify_if_drained()

    def _on_failure(self, failure: Failure, running: SocketOperation) -> None:
        self._log.failure("a GraphQL operation broke", failure=failure)
        self._finish(running, transport_ws.encode_error(running.id, [format_refusal(InternalError())]))

    def _change_unanswered(self, change: int) -> None:
        self._unanswered += change
        self._on_busy(self._unanswered >= PAUSE_READING_AT)
