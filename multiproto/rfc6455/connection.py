"""A WebSocket that carries a `Connection` of the core: what /ws and /graphql have in common.

The subclass says what a message means, and how each reply is written.
"""

from __future__ import annotations

from typing import Callable

from twisted.internet.interfaces import IReactorTime

from ..base.tcp_socket import acknowledged_bytes, limit_unsent
from ..core.connections.admission import Admission
from ..core.connections.connection import Connection
from ..core.connections.hub import Hub
from ..core.errors import Forbidden, InternalError, Refusal, TooLarge, Unavailable
from ..core.identity import Identity
from ..core.protocol import CloseReason, EndOfInput
from .factory import Rfc6455Factory
from .protocol import Rfc6455Protocol

GOING_AWAY, POLICY_VIOLATION = 1001, 1008  # RFC 6455, 7.4.1

# The error in the body of a refused handshake, by its HTTP status; at all others the request itself was bad.
HANDSHAKE_ERRORS: dict[int, type[Refusal]] = {
    403: Forbidden,
    431: TooLarge,
    500: InternalError,
}


class WebSocketConnectionFactory(Rfc6455Factory):
    """Knows the hub that admits each WebSocket, and this endpoint's share of it."""

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
    ) -> None:
        super().__init__(clock, allowed_origin)
        self.hub = hub
        self.admission = admission


class WebSocketConnectionProtocol(Rfc6455Protocol):
    """Has a `Connection` once it is open and admitted, and reports to it what arrives and when it ends."""

    factory: WebSocketConnectionFactory
    connection: Connection | None = None
    preset_identity: Identity | None = None  # set where no authentication is needed

    def admit(self) -> None:
        """Ask the hub for a connection; close the WebSocket if it refuses."""
        factory = self.factory
        try:
            self.connection = factory.hub.admit(self, self.host, factory.admission, self.preset_identity)
        except Refusal as refusal:
            code = GOING_AWAY if isinstance(refusal, Unavailable) else POLICY_VIOLATION
            self.reject(code, refusal.message)
        else:
            self.transport.registerProducer(self, True)

    # Autobahn calls these.

    def dataReceived(self, data: bytes) -> None:
        self.factory.admission.stats.record_bytes_received(len(data))
        if self.connection is None:
            return super().dataReceived(data)
        self.connection.on_activity(len(data))
        turns = self.connection.turns
        began = turns.now()
        super().dataReceived(data)
        turns.count(self.connection.turn_key, "frames", began)

    def onOpen(self) -> None:
        super().onOpen()
        self.admit()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.connection is not None:
            self.connection.connection_lost()

    # The base class calls these.

    def has_time_to_read(self) -> bool:
        return self.connection is None or self.connection.begin_reading() is not None

    @property
    def maxMessagePayloadSize(self) -> int:
        limit = self.max_message_size
        return limit if self.connection is None else self.connection.message_limit(limit)

    def on_end_of_input(self, failed: bool) -> None:
        assert self.connection is not None
        reason = CloseReason.PROTOCOL_ERROR if failed else CloseReason.CLIENT_CLOSED
        self.connection.receive(EndOfInput(reason))

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        assert self.connection is not None
        self.connection.send_queue.pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        assert self.connection is not None
        self.connection.send_queue.resumeProducing()

    # The connection calls these: the part of core.ports.Transport that does not depend on the messages.

    def abort(self) -> None:
        self.transport.abortConnection()

    def acknowledged_bytes(self) -> int | None:
        return acknowledged_bytes(self.transport)

    def limit_unsent(self, limited: bool) -> None:
        limit_unsent(self.transport, limited)

    def pause_reading(self) -> None:
        self.pause_for("connection")

    def resume_reading(self) -> None:
        self.resume_from("connection")
