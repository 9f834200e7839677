"""The operations of one socket: begun in their order, one in each turn, and answered when the socket is writable."""

from __future__ import annotations

from typing import Awaitable, Callable

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...core.errors import InternalError, RateLimited, Unavailable
from ...core.protocol import CloseReason, Ping
from ..execution.context import Caller
from ..execution.errors import RequestError, format_refusal
from ..execution.execute import OperationExecutor, PreparedOperation
from ..execution.request import GraphQLRequest
from ..execution.subscriptions import ResponseStream
from . import transport_ws

MAX_RUNNING_OPERATIONS = 100  # on one socket at a time, subscriptions included
PAUSE_READING_AT = 8  # unanswered operations at which the socket is no longer read

# Reasons that end the whole connection: its Close frame has them, not the error of each subscription.
CONNECTION_WIDE_REASONS = (
    CloseReason.SHUTDOWN,
    CloseReason.LOG_REPLACED,
    CloseReason.TOKEN_EXPIRED,
    CloseReason.REVOKED,
)


@define(eq=False, repr=False)
class SocketOperation:
    id: str
    request: GraphQLRequest
    stopped: bool = False  # nothing more is sent for it
    is_mutating: bool = False  # a mutation that is being executed
    stream: ResponseStream | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.stream is not None:
            self.stream.close()


@define(eq=False, repr=False)
class RunningOperations:
    _operation_executor: OperationExecutor
    _wait_for_turn: Callable[[bool], Awaitable[None]]  # to prepare an operation, or to execute a prepared one
    _wait_until_writable: Callable[[], Awaitable[None]]
    _get_caller: Callable[[], Awaitable[Caller]]  # may close the connection, and so stop everything
    _send: Callable[[bytes], object]
    _on_busy: Callable[[bool], object]  # called with whether too many are unanswered
    _running: dict[str, SocketOperation] = Factory(dict)  # by id
    _not_begun: list[SocketOperation] = Factory(list)
    _is_beginning: bool = field(default=False, init=False)
    _unanswered: int = field(default=0, init=False)
    _on_drained: Callable[[], object] | None = field(default=None, init=False)

    _log = Logger()

    def __contains__(self, id: str) -> bool:
        return id in self._running

    def start(self, id: str, request: GraphQLRequest) -> None:
        """Execute `request` under an `id` that is free."""
        if len(self._running) < MAX_RUNNING_OPERATIONS:
            operation = self._running[id] = SocketOperation(id, request)
            self._not_begun.append(operation)
            self._change_unanswered(1)
            if not self._is_beginning:
                Deferred.fromCoroutine(self._begin_all()).addErrback(self._on_failure, operation)
            return
        full = RateLimited(f"At most {MAX_RUNNING_OPERATIONS} operations at a time")
        self._send(transport_ws.encode_error(id, [format_refusal(full)]))

    def complete(self, id: str) -> None:
        """The client completed the operation; it may have ended by itself before."""
        operation = self._running.pop(id, None)
        if operation is not None:
            operation.stop()
            self._notify_if_drained()

    def stop(self) -> None:
        """Stop all operations."""
        running, self._running, self._on_drained = self._running, {}, None
        for operation in running.values():
            operation.stop()

    def drain(self, on_drained: Callable[[], object]) -> None:
        """Stop all but mutations that are being executed; call `on_drained` when they are answered.

        One of them may be the one that closes the socket, as `logout` does.
        """
        mutations = {id: operation for id, operation in self._running.items() if operation.is_mutating}
        for operation in self._running.values():
            if not operation.is_mutating:
                operation.stop()
        self._running, self._on_drained = mutations, on_drained
        self._notify_if_drained()

    def _notify_if_drained(self) -> None:
        if self._on_drained is not None and not self._running:
            on_drained, self._on_drained = self._on_drained, None
            on_drained()

    async def _begin_all(self) -> None:
        """Begin one after the other, so that the first of two mutations publishes before the second."""
        self._is_beginning = True
        try:
            while self._not_begun:
                await self._begin(self._not_begun.pop(0))
        finally:
            self._is_beginning = False

    async def _begin(self, operation: SocketOperation) -> None:
        """Returns once it is being executed, or will not be."""
        try:
            begun = await self._prepare(operation)
        except RequestError as declined:
            self._finish(operation, transport_ws.encode_error(operation.id, declined.errors))
        except Unavailable as unavailable:
            self._finish(operation, transport_ws.encode_error(operation.id, [format_refusal(unavailable)]))
        except Exception:
            self._on_failure(Failure(), operation)
        else:
            if begun is not None:
                execution = Deferred.fromCoroutine(self._execute(operation, *begun))
                execution.addErrback(self._on_failure, operation)
                return
        self._change_unanswered(-1)

    async def _prepare(self, operation: SocketOperation) -> tuple[PreparedOperation, Caller] | None:
        """`None` if it was stopped meanwhile.  Raises `RequestError`, `Unavailable`."""
        await self._wait_for_turn(False)
        if operation.stopped:
            return None
        prepared = self._operation_executor.prepare(operation.request)
        await self._wait_for_turn(True)
        caller = await self._get_caller()
        return None if operation.stopped else (prepared, caller)

    async def _execute(self, operation: SocketOperation, prepared: PreparedOperation, caller: Caller) -> None:
        try:
            if prepared.kind == "subscription":
                operation.stream = await self._operation_executor.subscribe(prepared, caller)
            else:
                operation.is_mutating = prepared.kind == "mutation"
                await self._send_response(operation, prepared, caller)
        except RequestError as declined:
            self._finish(operation, transport_ws.encode_error(operation.id, declined.errors))
        except Unavailable as unavailable:
            self._finish(operation, transport_ws.encode_error(operation.id, [format_refusal(unavailable)]))
        finally:
            self._change_unanswered(-1)
        if operation.stream is not None:
            await self._send_stream(operation, operation.stream)

    async def _send_response(
        self, operation: SocketOperation, prepared: PreparedOperation, caller: Caller
    ) -> None:
        payload = await self._operation_executor.execute(prepared, caller)
        await self._wait_until_writable()
        if not operation.stopped:
            self._send(transport_ws.encode_next(operation.id, payload))
            self._finish(operation, transport_ws.encode_complete(operation.id))

    async def _send_stream(self, operation: SocketOperation, stream: ResponseStream) -> None:
        try:
            while not operation.stopped and (payload := await stream.next()) is not None:
                await self._wait_until_writable()
                if not operation.stopped and not isinstance(payload, Ping):
                    self._send(transport_ws.encode_next(operation.id, payload))
            farewell = stream.farewell
            if farewell is not None and farewell.reason not in CONNECTION_WIDE_REASONS:
                details = {"cursor": farewell.cursor} if farewell.cursor else None
                error = format_refusal(Unavailable(farewell.message, details))
                self._finish(operation, transport_ws.encode_error(operation.id, [error]))
        finally:
            stream.close()

    def _finish(self, operation: SocketOperation, last_message: bytes) -> None:
        """Send the last message of an operation, unless the client completed it; its id is free again."""
        if not operation.stopped:
            operation.stopped = True
            del self._running[operation.id]
            self._send(last_message)
            self._notify_if_drained()

    def _on_failure(self, failure: Failure, operation: SocketOperation) -> None:
        self._log.failure("a GraphQL operation broke", failure=failure)
        self._finish(operation, transport_ws.encode_error(operation.id, [format_refusal(InternalError())]))

    def _change_unanswered(self, change: int) -> None:
        self._unanswered += change
        self._on_busy(self._unanswered >= PAUSE_READING_AT)
