"""The WebSocket endpoint: messages in, messages out."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from ..base.strict_json import dumps
from ..core.connections.admission import Admission
from ..core.connections.connection import Connection
from ..core.connections.hub import Hub
from ..core.errors import Forbidden, InternalError, InvalidInput, RateLimited, Refusal, TooLarge, Unavailable
from ..core.identity import Identity
from ..core.model import format_timestamp
from ..core.protocol import (
    MAX_BATCH_BYTES,
    Authenticate,
    CloseReason,
    DeliveryBatch,
    EndOfInput,
    Farewell,
    Ping,
    Reply,
)
from ..rfc6455.codec import BINARY, TEXT, encode_frame
from ..rfc6455.factory import Rfc6455Factory
from ..rfc6455.protocol import MIN_COMPRESS_SIZE, Rfc6455Protocol
from . import codec

MAX_MESSAGE_SIZE = 1024 * 1024  # bytes
MAX_ECHO_SIZE = 16 * 1024 * 1024  # bytes
PING_SIZE = 2  # bytes of a ping without payload

HANDSHAKE_ERRORS: dict[int, type[Refusal]] = {
    403: Forbidden,
    429: RateLimited,
    431: TooLarge,
    500: InternalError,
}


class WebSocketProtocol(Rfc6455Protocol):
    """Lends its connection to a `Connection`."""

    factory: WebSocketFactory
    connection: Connection | None = None
    preset_identity: Identity | None = None  # whom no one asks for a token

    # Autobahn calls these.

    def dataReceived(self, data: bytes) -> None:
        self.factory.admission.stats.record_bytes_received(len(data))
        if self.connection is not None:
            self.connection.on_activity(len(data))
        super().dataReceived(data)

    def onOpen(self) -> None:
        super().onOpen()
        factory = self.factory
        try:
            self.connection = factory.hub.admit(self, self.host, factory.admission, self.preset_identity)
        except Refusal as refusal:
            self.reject(1001 if isinstance(refusal, Unavailable) else 1008, refusal.message)
            return
        self.transport.registerProducer(self, True)
        if self.token is not None:
            token, self.token = self.token, None
            self.connection.receive(Authenticate(token), len(token))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.connection is not None
        self.connection.receive(self.factory.decode(payload), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.connection is not None:
            self.connection.connection_lost()

    # The base class calls these.

    def on_end_of_input(self, failed: bool) -> None:
        assert self.connection is not None
        self.connection.receive(
            EndOfInput(CloseReason.PROTOCOL_ERROR if failed else CloseReason.CLIENT_CLOSED)
        )

    def refusal_body(self, code: int, reason: str) -> bytes:
        kind = HANDSHAKE_ERRORS.get(code, InvalidInput)
        error = {"code": kind.code, "message": reason}
        return dumps({"success": False, "error": error, "timestamp": format_timestamp(self._now())})

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        assert self.connection is not None
        self.connection.send_queue.pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        assert self.connection is not None
        self.connection.send_queue.resumeProducing()

    # The session calls these: core.ports.Peer.

    def send(self, reply: Reply) -> int:
        """The size is that of the frame before compression."""
        if isinstance(reply, Ping):
            self.sendPing()
            return PING_SIZE
        framed = codec.encode(reply, self._now())
        self.write_frame(framed)
        return len(framed)

    def send_batch(self, burst: DeliveryBatch) -> int:
        """Not where a message might be compressed: those are made one by one."""
        framed = codec.encode_batch(burst)
        size = len(framed)
        if size > MAX_BATCH_BYTES or self._perMessageCompress is not None and size >= MIN_COMPRESS_SIZE:
            return 0
        if self.state == self.STATE_OPEN:
            self.transport.write(framed)
        return size

    def size_of(self, reply: Reply) -> int:
        return PING_SIZE if isinstance(reply, Ping) else len(codec.encode(reply, self._now()))

    def close(self, why: Farewell) -> None:
        if why.reason in codec.CLOSE_CODES:
            self.close_status = codec.CLOSE_CODES[why.reason], codec.farewell_reason(why)
        self.start_closing_handshake()

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause_reading(self) -> None:
        self.pause_for("busy")

    def resume_reading(self) -> None:
        self.resume_from("busy")

    def _now(self) -> float:
        return self.factory.clock.seconds()


class WebSocketEchoProtocol(WebSocketProtocol):
    """Says back what it hears, for conformance suites (contract, section 4)."""

    preset_identity = Identity("echo", "echo", float("inf"))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.write_frame(encode_frame(payload, BINARY if isBinary else TEXT))

    # Who does not read their echo is not listened to.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.pause_for("clogged")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.resume_from("clogged")


class WebSocketFactory(Rfc6455Factory):
    """Builds the protocol for each connection."""

    def __init__(
        self,
        hub: Hub,
        line: Admission,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
        max_message: int = MAX_MESSAGE_SIZE,
        compress: bool = True,
        protocol_class: type[WebSocketProtocol] = WebSocketProtocol,
        fast: bool = True,
    ) -> None:
        super().__init__(clock, allowed_origin, line.acquire, fast)
        self.hub = hub
        self.admission = line
        self.decode = codec.decode_fast if fast else codec.decode
        self._protocol_class = protocol_class
        self._protocol_attributes: dict[str, Any] = {"maxMessagePayloadSize": max_message}
        if not compress:
            self._protocol_attributes["perMessageCompressionAccept"] = lambda offers: None

    def buildProtocol(self, addr: IAddress | None) -> WebSocketProtocol:  # type: ignore[override]
        protocol = self._protocol_class()
        protocol.factory = self
        protocol.__dict__.update(self._protocol_attributes)
        return protocol
