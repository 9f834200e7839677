"""The device protocol on a TCP transport: frames in, frames out."""

from __future__ import annotations

import socket
from math import ceil
from typing import Any, Callable

from attrs import define
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.tcp import Connection as TcpTransport
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from ..core.connections.admission import Admission
from ..core.connections.connection import Connection
from ..core.connections.hub import Hub
from ..core.errors import FrameTooLarge, InvalidFrame, Refusal
from ..core.protocol import (
    MAX_BATCH_BYTES,
    BadCommand,
    CloseReason,
    DeliveryBatch,
    EndOfInput,
    ErrorReply,
    Farewell,
    Reply,
)
from . import codec
from .codec import completes_frame, parse_frames

MAX_FRAME_SIZE = 1024 * 1024  # bytes, type included, length excluded
KEEPALIVE_IDLE = 60.0  # seconds of silence before the system asks whether the peer is still there
MAX_KEEPALIVE_IDLE = 32767  # seconds that Linux takes


@implementer(IHalfCloseableProtocol)
class TcpProtocol(Int32StringReceiver):
    """Lends its transport to a `Connection`."""

    transport: TcpTransport
    connection: Connection | None = None
    _reading = True  # frames are taken from what comes in
    _peer_closed = False  # the peer will send no more

    def __init__(
        self,
        hub: Hub,
        line: Admission,
        now: Callable[[], float],
        max_frame: int,
        keep_alive: float,
        fast: bool,
    ) -> None:
        self._hub = hub
        self._admission = line
        self._now = now
        self.MAX_LENGTH = max_frame
        self._keepalive_idle = keep_alive
        self._fast = fast
        self._decode = codec.decode_fast if fast else codec.decode
        self._buffer = bytearray()  # what is not yet a whole frame

    # Twisted calls these.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._enable_keepalive()
        host = getattr(self.transport.getPeer(), "host", "")
        try:
            self._admission.check_rate(host)
            self.connection = self._hub.admit(self, host, self._admission)
        except Refusal as refusal:
            self._reading = False
            self.send(ErrorReply(refusal))
            self.transport.loseConnection()
        else:
            self.transport.registerProducer(self.connection.send_queue, True)

    def dataReceived(self, data: bytes) -> None:
        """Cut `data` into frames.

        The base class joins what is left over with each new chunk, which is
        quadratic for a large frame in small pieces; a `bytearray` grows and
        loses its head in place.
        """
        self._admission.stats.record_bytes_received(len(data))
        if not self._reading or self.connection is None or self.connection.farewell:
            return  # the peer may go on sending until it reads our goodbye
        self.connection.on_activity(len(data))
        buffer = self._buffer
        if self._fast and not self.paused and completes_frame(buffer, data):
            if buffer:
                data = bytes(buffer) + data
                buffer.clear()
            data = data[parse_frames(data, self.MAX_LENGTH, self._handle_frame) :]
            if not self._reading:
                return
        buffer += data
        while self._reading and not self.paused and len(buffer) >= 4:
            length = int.from_bytes(buffer[:4], "big")
            if not 1 <= length <= self.MAX_LENGTH:
                self.lengthLimitExceeded(length)
            elif len(buffer) < 4 + length:
                break
            else:
                body = bytes(buffer[4 : 4 + length])
                del buffer[: 4 + length]
                self.stringReceived(body)

    def stringReceived(self, string: bytes) -> None:
        assert self.connection is not None
        self.connection.receive(self._decode(string), 4 + len(string))

    def _handle_frame(self, body: bytes) -> bool:
        """Whether another may follow at once."""
        self.stringReceived(body)
        return self._reading and not self.paused

    def lengthLimitExceeded(self, length: int) -> None:
        """The frames can't be told apart any more; those before are still obeyed."""
        assert self.connection is not None
        self._stop_reading()
        self.connection.receive(
            BadCommand(
                FrameTooLarge(f"Frame of {length} bytes, at most {self.MAX_LENGTH}")
                if length
                else InvalidFrame("Frame without a type")
            )
        )
        self.connection.receive(EndOfInput(CloseReason.PROTOCOL_ERROR))

    def readConnectionLost(self) -> None:
        """The peer will say no more, but may still wait for its answers."""
        self._peer_closed = True
        self._stop_reading()
        if self.connection is None or self.connection.farewell:
            self.transport.loseConnection()
        else:
            self.connection.receive(EndOfInput())

    def writeConnectionLost(self) -> None:
        """Our own doing, in `close`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_reading()
        if self.connection is not None:
            self.connection.connection_lost()

    def _enable_keepalive(self) -> None:
        """Of the system: it finds out about a dead line below what we say and hear."""
        self.transport.setTcpKeepAlive(True)
        if hasattr(socket, "TCP_KEEPIDLE"):
            seconds = min(ceil(self._keepalive_idle), MAX_KEEPALIVE_IDLE)
            _unwrap_transport(self.transport).getHandle().setsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds
            )

    def _stop_reading(self) -> None:
        self._reading = False
        self._buffer.clear()

    # The session calls these: core.ports.Peer.

    def send(self, reply: Reply) -> int:
        frame = codec.encode(reply, self._now())
        self.transport.write(frame)
        return len(frame)

    def send_batch(self, burst: DeliveryBatch) -> int:
        frames = codec.encode_batch(burst)
        if len(frames) > MAX_BATCH_BYTES:
            return 0
        self.transport.write(frames)
        return len(frames)

    def size_of(self, reply: Reply) -> int:
        return len(codec.encode(reply, self._now()))

    def close(self, why: Farewell) -> None:
        """Say `why` and end our half; the other half ends with the peer's, or with `abort`.

        Closing both halves while the peer still sends would reset the
        connection, and the peer might never read why.
        """
        self._stop_reading()
        self.transport.write(codec.encode_farewell(why))
        self.transport.unregisterProducer()
        if self._peer_closed:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()  # the end of a paused peer would not be seen

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause_reading(self) -> None:
        self.pauseProducing()  # of the base class: takes no frame after the current one

    def resume_reading(self) -> None:
        self.resumeProducing()


def _unwrap_transport(transport: Any) -> Any:
    """The transport that has the socket: TLS and the like are wrapped around it."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport


@define(eq=False, repr=False)
class TcpFactory(Factory):
    """Builds the protocol for each connection; `now` is in seconds since the epoch."""

    _hub: Hub
    _admission: Admission
    _now: Callable[[], float]
    _max_frame_size: int = MAX_FRAME_SIZE
    _keepalive_idle: float = KEEPALIVE_IDLE
    _fast: bool = True  # what came whole may take the short ways of `chunk` and `quick`
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TcpProtocol:
        protocol = TcpProtocol(
            self._hub, self._admission, self._now, self._max_frame_size, self._keepalive_idle, self._fast
        )
        protocol.factory = self
        return protocol
