"""The WebSocket endpoint /ws: passes messages between a WebSocket and a `Connection`."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from ..base.strict_json import dumps
from ..base.timestamps import format_timestamp
from ..core.connections.admission import Admission
from ..core.connections.hub import Hub
from ..core.errors import InvalidInput
from ..core.identity import Identity
from ..core.protocol import MAX_BATCH_BYTES, Authenticate, DeliveryBatch, Farewell, Ping, Reply
from ..rfc6455.codec import BINARY, TEXT, encode_frame
from ..rfc6455.connection import (
    HANDSHAKE_ERRORS,
    WebSocketConnectionFactory,
    WebSocketConnectionProtocol,
)
from ..rfc6455.protocol import MIN_COMPRESS_SIZE
from . import codec

MAX_MESSAGE_SIZE = 1024 * 1024  # bytes
MAX_ECHO_SIZE = 16 * 1024 * 1024  # bytes
PING_SIZE = 2  # bytes of a ping without payload


class WebSocketProtocol(WebSocketConnectionProtocol):
    """One client: feeds its messages to a `Connection` and is that connection's `Transport`."""

    factory: WebSocketFactory
    pauses_for_login = True  # a larger message may follow

    def admit(self) -> None:
        super().admit()
        if self.connection is not None and self.token is not None:
            token, self.token = self.token, None
            self.connection.receive(Authenticate(token), len(token))

    def choose_subprotocol(self, offered: list[str]) -> str | None:
        """The first: this endpoint has none, and many clients take a handshake without one for a failure."""
        return next(iter(offered), None)

    # Autobahn calls this.

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.connection is not None
        self.connection.receive(codec.decode(payload), len(payload))

    # The base class calls this.

    def refusal_body(self, code: int, reason: str) -> bytes:
        error = {"code": HANDSHAKE_ERRORS.get(code, InvalidInput).code, "message": reason}
        return dumps({"success": False, "error": error, "timestamp": format_timestamp(self._now())})

    # The connection calls these: core.ports.Transport.

    def send(self, reply: Reply) -> int:
        """Write `reply`; the size is that of the frame before compression."""
        if isinstance(reply, Ping):
            self.sendPing()
            return PING_SIZE
        framed = codec.encode(reply, self._now())
        self.write_frame(framed)
        return len(framed)

    def send_batch(self, batch: DeliveryBatch) -> int:
        """Write all of `batch` in one; the size is that before compression."""
        framed = codec.encode_batch(batch)
        size = len(framed)
        if size > MAX_BATCH_BYTES:
            return 0
        if self._perMessageCompress is not None and size >= MIN_COMPRESS_SIZE:
            framed = self._compress_batch(batch)
        if self.state == self.STATE_OPEN:
            self.transport.write(framed)
        return size

    def _compress_batch(self, batch: DeliveryBatch) -> bytes:
        """Each message by itself; once for all connections of the same window, as `WebSocketFactory.compress_frame`."""
        key = f"{codec.__name__} {self._perMessageCompress.server_max_window_bits}"
        if key not in batch.encoded:
            batch.encoded[key] = b"".join(map(self.compress_if_worth, codec.encode_each(batch)))
        return batch.encoded[key]

    def size_of(self, reply: Reply) -> int:
        return PING_SIZE if isinstance(reply, Ping) else len(codec.encode(reply, self._now()))

    def close(self, farewell: Farewell) -> None:
        if farewell.reason in codec.CLOSE_CODES:
            self.close_status = codec.CLOSE_CODES[farewell.reason], codec.farewell_reason(farewell)
        self.start_closing_handshake()

    def _now(self) -> float:
        return self.factory.now()


class WebSocketEchoProtocol(WebSocketProtocol):
    """Sends each message back, for conformance suites (docs/websocket.md#for-conformance-suites)."""

    preset_identity = Identity("echo", "echo", float("inf"))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.write_frame(encode_frame(payload, BINARY if isBinary else TEXT))

    # A client that does not read its echoes is not read either.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.pause_for("clogged")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.resume_from("clogged")


class WebSocketFactory(WebSocketConnectionFactory):
    """Builds the protocol for each connection."""

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        clock: IReactorTime,
        now: Callable[[], float],  # seconds since the epoch
        allowed_origin: Callable[[str], bool],
        max_message: int = MAX_MESSAGE_SIZE,
        compress: bool = True,
        protocol_class: type[WebSocketProtocol] = WebSocketProtocol,
    ) -> None:
        super().__init__(hub, admission, clock, allowed_origin)
        self.now = now
        self._protocol_class = protocol_class
        self._protocol_attributes: dict[str, Any] = {"max_message_size": max_message}
        if not compress:
            self._protocol_attributes["perMessageCompressionAccept"] = lambda offers: None

    def buildProtocol(self, addr: IAddress | None) -> WebSocketProtocol:  # type: ignore[override]
        protocol = self._protocol_class()
        protocol.factory = self
        protocol.__dict__.update(self._protocol_attributes)
        return protocol
