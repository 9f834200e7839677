"""The WebSocket of /graphql: passes messages of graphql-transport-ws between a client, a `Connection` and its operations."""

from __future__ import annotations

from functools import cached_property
from typing import Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from ...base import strict_json
from ...base.timestamps import format_timestamp
from ...core.connections.admission import Admission
from ...core.connections.connection import Connection
from ...core.connections.hub import Hub
from ...core.connections.send_queue import BufferBudget
from ...core.errors import Unauthorized, Unavailable
from ...core.protocol import (
    Authenticate,
    Authenticated,
    CloseReason,
    DeliveryBatch,
    ErrorReply,
    Farewell,
    Ping,
    Pong,
    Reply,
    TokenExpiring,
)
from ...rfc6455.codec import encode_frame
from ...rfc6455.connection import (
    HANDSHAKE_ERRORS,
    WebSocketConnectionFactory,
    WebSocketConnectionProtocol,
)
from ..execution.context import Caller, require_bearer
from ..execution.execute import OperationExecutor
from ..execution.request import BadGraphQLRequest
from . import transport_ws
from .running_operations import CONNECTION_WIDE_REASONS, RunningOperations

MAX_MESSAGE_SIZE = 2**20  # bytes
MAX_QUEUED_SIZE = 8 * 2**20  # bytes that all subscriptions of a socket may buffer together


class GraphQLWebSocketProtocol(WebSocketConnectionProtocol):
    """The connection authenticates, keeps alive and closes; each subscription is a stream of its own."""

    pauses_for_login = False  # nothing may be sent before the acknowledgement
    max_message_size = MAX_MESSAGE_SIZE
    subprotocols = (transport_ws.SUBPROTOCOL,)

    factory: GraphQLWebSocketFactory

    def __init__(self, factory: GraphQLWebSocketFactory) -> None:
        super().__init__()
        self.factory = factory
        self._budget = BufferBudget(MAX_QUEUED_SIZE)
        self._init_received = self._acknowledged = False
        self._replays = 0  # under way

    @cached_property
    def _running_operations(self) -> RunningOperations:
        return RunningOperations(
            self.factory.operation_executor,
            self._wait_for_turn,
            self._wait_until_writable,
            self._current_caller,
            self._send_message,
            self._on_busy,
        )

    def admit(self) -> None:
        if self.websocket_protocol_in_use is None:
            code = transport_ws.SUBPROTOCOL_NOT_ACCEPTABLE
            self.reject(code, f"Subprotocol not acceptable: use {transport_ws.SUBPROTOCOL}")
        else:
            super().admit()
            if self.connection is not None:
                # The only one that it could miss is the warning of its expiry: a ping, which every client understands.
                self.connection.uses_extensions = True

    # Autobahn calls these.

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.connection is not None
        if self.connection.farewell:
            return
        try:
            message = transport_ws.decode(payload)
        except transport_ws.InvalidMessage as malformed:
            return self._close_with(transport_ws.BAD_REQUEST, str(malformed))
        match message:
            case transport_ws.ConnectionInitMessage(authorization=authorization):
                self._handle_init(self.connection, authorization)
            case transport_ws.SubscribeMessage():
                self._handle_subscribe(self.connection, message)
            case transport_ws.CompleteMessage(id=id):
                self._running_operations.complete(id)
            case transport_ws.PingMessage():
                self.connection.receive(Ping(), len(payload))
            case transport_ws.PongMessage():
                self.connection.receive(Pong(), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._running_operations.stop()
        del self._running_operations  # it refers back to this; operations that are not over yet keep it
        super().onClose(wasClean, code, reason)

    # The base class calls this.

    def refusal_body(self, code: int, reason: str) -> bytes:
        """As the endpoint refuses requests over HTTP."""
        extensions = {"code": HANDSHAKE_ERRORS.get(code, BadGraphQLRequest).name, "status": code}
        return strict_json.dumps({"errors": [{"message": reason, "extensions": extensions}]})

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.pause_for("clogged")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        assert self.connection is not None
        if not self.connection.send_queue.is_blocked:  # it may be again, by what waited
            self.resume_from("clogged")

    # Messages.

    def _handle_init(self, connection: Connection, authorization: str | None) -> None:
        if self._init_received:
            return self._close_with(transport_ws.TOO_MANY_INIT_REQUESTS, "Too many initialisation requests")
        self._init_received = True
        token, self.token = self.token, None
        try:
            token = require_bearer(authorization) if authorization else token
        except Unauthorized as refusal:
            return self._close_with(transport_ws.FORBIDDEN, refusal.message)
        if token is None:
            return self._send_ack()
        connection.receive(Authenticate(token), len(token))

    def _send_ack(self) -> None:
        self._acknowledged = True
        self._send_message(transport_ws.CONNECTION_ACK)

    def _handle_subscribe(self, connection: Connection, message: transport_ws.SubscribeMessage) -> None:
        if not self._acknowledged:
            return self._close_with(transport_ws.UNAUTHORIZED, "Unauthorized")
        if message.id in self._running_operations:
            return self._close_with(
                transport_ws.SUBSCRIBER_ALREADY_EXISTS, f"Subscriber for {message.id} already exists"
            )
        connection.charge_command()
        self._running_operations.start(message.id, message.request)

    async def _current_caller(self) -> Caller:
        """The caller of an operation; an expired token closes the connection here, not at the hub's next tick.

        Raises `Unavailable` while this instance could miss a revocation.
        """
        connection = self.connection
        assert connection is not None
        if connection.identity is not None:
            await self.factory.hub.wait_until_current()
        identity = connection.identity
        connection.close_if_expired()
        return Caller(
            self.host,
            identity,
            connection_id=connection.id,
            budget=self._budget,
            turn_key=connection.turn_key,
            delay=connection.delay,
            limit_unsent=self._on_replay,
        )

    def _on_replay(self, begins: bool) -> None:
        """Of several subscriptions, the first limits what is unsent, and the last lifts that."""
        self._replays += 1 if begins else -1
        self.limit_unsent(self._replays > 0)

    def _on_busy(self, is_busy: bool) -> None:
        assert self.connection is not None
        (self.connection.pause_reading if is_busy else self.connection.resume_reading)("operations")

    async def _wait_for_turn(self, is_prepared: bool) -> None:
        assert self.connection is not None
        await self.connection.turns.wait(self.connection.turn_key, "graphql", is_prepared)

    async def _wait_until_writable(self) -> None:
        assert self.connection is not None
        await self.connection.wait_until_writable()

    def _send_message(self, payload: bytes) -> None:
        self.write_frame(encode_frame(payload))

    def _close_with(self, code: int, reason: str) -> None:
        assert self.connection is not None
        self.close_status = code, reason
        self.connection.close(CloseReason.PROTOCOL_ERROR)

    # The connection calls these: core.ports.Transport.

    def send(self, reply: Reply) -> int:
        match reply:
            case Authenticated():
                self._send_ack()
            case ErrorReply(refusal=refusal):
                code = (
                    transport_ws.TRY_AGAIN_LATER
                    if isinstance(refusal, Unavailable)
                    else transport_ws.FORBIDDEN
                )
                self._close_with(code, refusal.message)
            case TokenExpiring(expires_at=expires_at):
                self._send_message(transport_ws.encode_expiring(format_timestamp(expires_at)))
            case Ping():
                self._send_message(transport_ws.PING)
            case Pong():
                self._send_message(transport_ws.PONG)
            case _:
                return 0  # this protocol has no such message
        return self.size_of(reply)

    def send_batch(self, batch: DeliveryBatch) -> int:
        return 0

    def size_of(self, reply: Reply) -> int:
        return len(transport_ws.CONNECTION_ACK)

    def close(self, farewell: Farewell) -> None:
        if farewell.reason in transport_ws.CLOSE_CODES:
            self.close_status = transport_ws.CLOSE_CODES[farewell.reason], farewell.message
        if farewell.reason in CONNECTION_WIDE_REASONS:
            # The connection aborts it when its `GracefulClose` is over.
            self._running_operations.drain(self.start_closing_handshake)
        else:
            self._running_operations.stop()
            self.start_closing_handshake()


class GraphQLWebSocketFactory(WebSocketConnectionFactory):
    """Builds the protocol for each connection."""

    def __init__(
        self,
        operations: OperationExecutor,
        hub: Hub,
        admission: Admission,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
    ) -> None:
        super().__init__(hub, admission, clock, allowed_origin)
        self.operation_executor = operations

    def buildProtocol(self, addr: IAddress | None) -> GraphQLWebSocketProtocol:
        return GraphQLWebSocketProtocol(self)
