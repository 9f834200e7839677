"""The device protocol on a TCP transport: passes frames between a transport and a `Connection`."""

from __future__ import annotations

import socket
from math import ceil
from typing import Callable

from attrs import define
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.tcp import Connection as TcpTransport
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from ..base.client_network import client_network
from ..base.tcp_socket import acknowledged_bytes, limit_unsent, unwrap_transport
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

MAX_FRAME_SIZE = 1024 * 1024  # bytes, type included, length excluded
MAX_HELD_BYTES = 64 * 1024  # that are read of a connection while it waits, to see whether its peer leaves
KEEPALIVE_IDLE = 60.0  # seconds of silence before the kernel sends a TCP keepalive probe
MAX_KEEPALIVE_IDLE = 32767  # seconds that Linux takes


@implementer(IHalfCloseableProtocol)
class TcpProtocol(Int32StringReceiver):
    """One device: feeds its commands to a `Connection` and is that connection's `Transport`."""

    transport: TcpTransport
    pauses_for_login = True  # a larger frame may follow
    connection: Connection | None = None
    _reading = True  # False: whatever else arrives is dropped
    _peer_closed = False  # the peer has closed its half
    _held = False  # it waits, above the rate of new connections: what comes is kept, and the peer's end is noticed

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        now: Callable[[], float],
        max_frame_size: int,
        keepalive_idle: float,
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._now = now
        self._max_frame_size = max_frame_size
        self._keepalive_idle = keepalive_idle
        self._buffer = bytearray()  # received while paused, or not yet a whole frame

    @property
    def MAX_LENGTH(self) -> int:  # type: ignore[override]
        """The bytes that a frame may have at the moment; the base class's name for it."""
        limit = self._max_frame_size
        return limit if self.connection is None else self.connection.message_limit(limit)

    # Twisted calls these.

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self._enable_keepalive()
        host = getattr(self.transport.getPeer(), "host", "")
        try:
            wait = self._admission.reserve(client_network(host))
            self.connection = self._hub.admit(self, host, self._admission)
        except Refusal as refusal:
            self._reading = False
            self.send(ErrorReply(refusal))
            self.transport.loseConnection()
        else:
            self.transport.registerProducer(self.connection.send_queue, True)
            if wait:
                self._held = True
                self.connection.hold(wait)

    def dataReceived(self, data: bytes) -> None:
        """Cut `data` into frames and pass each on.

        The base class joins what is left over with each new chunk, which is
        quadratic for a large frame in small pieces; here they are joined once,
        when the frame is whole.
        """
        self._admission.stats.record_bytes_received(len(data))
        connection = self.connection
        if not self._reading or connection is None or connection.farewell:
            return  # the peer may go on sending until it reads our farewell
        connection.on_activity(len(data))
        limit = self.MAX_LENGTH
        if self.paused or not codec.completes_frame(self._buffer, data, limit):
            self._buffer += data
            if self._held and len(self._buffer) > MAX_HELD_BYTES:
                self.transport.pauseProducing()
            return
        if self._buffer:
            data = bytes(self._buffer) + data
            self._buffer.clear()
        began = connection.begin_reading()
        if began is None:
            self._buffer += data
            return
        rest = data[codec.parse_frames(data, limit, self._handle_frame) :]
        if rest and limit != self.MAX_LENGTH and self._reading and not self.paused:  # one of them was a login
            rest = rest[codec.parse_frames(rest, self.MAX_LENGTH, self._handle_frame) :]
        connection.turns.count(connection.turn_key, "frames", began)
        if rest and self._reading:
            self._buffer += rest
            self._check_next_length()

    def stringReceived(self, string: bytes) -> None:
        assert self.connection is not None
        self.connection.receive(codec.decode(string), 4 + len(string))

    def _handle_frame(self, body: bytes) -> bool:
        """Pass on one frame; returns whether the next one may follow at once."""
        self.stringReceived(body)
        return self._reading and not self.paused

    def _check_next_length(self) -> None:
        """Refuse a frame by its length, before the rest of it is received."""
        if not self.paused and len(self._buffer) >= 4:
            length = int.from_bytes(self._buffer[:4], "big")
            if not 0 < length <= self.MAX_LENGTH:
                self.lengthLimitExceeded(length)

    def lengthLimitExceeded(self, length: int) -> None:
        """The stream can't be cut into frames any more; the commands before this are still executed."""
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
        """The peer closed its half, but may still wait for its replies."""
        if self._held and self._buffer:
            return  # the transport reports it again once it is read
        self._peer_closed = True
        self._stop_reading()
        if self.connection is None or self.connection.farewell:
            self.transport.loseConnection()
        else:
            self.connection.receive(EndOfInput())

    def writeConnectionLost(self) -> None:
        """We closed our half ourselves, in `close`."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop_reading()
        if self._held:
            self._admission.release(client_network(getattr(self.transport.getPeer(), "host", "")))
        if self.connection is not None:
            self.connection.connection_lost()

    def _enable_keepalive(self) -> None:
        """Have the kernel find out about a dead connection, below our own pings."""
        self.transport.setTcpKeepAlive(True)
        if hasattr(socket, "TCP_KEEPIDLE"):
            seconds = min(ceil(self._keepalive_idle), MAX_KEEPALIVE_IDLE)
            unwrap_transport(self.transport).getHandle().setsockopt(
                socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds
            )

    def _stop_reading(self) -> None:
        self._reading = False
        self._buffer.clear()

    # The connection calls these: core.ports.Transport.

    def send(self, reply: Reply) -> int:
        frame = codec.encode(reply, self._now())
        self.transport.write(frame)
        return len(frame)

    def send_batch(self, batch: DeliveryBatch) -> int:
        frames = codec.encode_batch(batch)
        if len(frames) > MAX_BATCH_BYTES:
            return 0
        self.transport.write(frames)
        return len(frames)

    def size_of(self, reply: Reply) -> int:
        return len(codec.encode(reply, self._now()))

    def close(self, farewell: Farewell) -> None:
        """Send the farewell and close our half; the other half ends with the peer's, or with `abort`.

        Closing both halves while the peer still sends would reset the
        connection, and the peer might never read the farewell.
        """
        self._stop_reading()
        self.transport.write(codec.encode_farewell(farewell))
        self.transport.unregisterProducer()
        if self._peer_closed:
            self.transport.loseConnection()
        else:
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()  # while paused, we would not see the peer close

    def abort(self) -> None:
        self.transport.abortConnection()

    def acknowledged_bytes(self) -> int | None:
        return acknowledged_bytes(self.transport)

    def limit_unsent(self, limited: bool) -> None:
        limit_unsent(self.transport, limited)

    def pause_reading(self) -> None:
        if self._held:
            self.paused = True
        else:
            self.pauseProducing()  # of the base class: passes on no frame after the current one

    def resume_reading(self) -> None:
        self._held = False
        self.resumeProducing()


@define(eq=False, repr=False)
class TcpFactory(Factory):
    """Builds the protocol for each connection; `now` is in seconds since the epoch."""

    _hub: Hub
    _admission: Admission
    _now: Callable[[], float]
    _max_frame_size: int = MAX_FRAME_SIZE
    _keepalive_idle: float = KEEPALIVE_IDLE
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> TcpProtocol:
        protocol = TcpProtocol(
            self._hub, self._admission, self._now, self._max_frame_size, self._keepalive_idle
        )
        protocol.factory = self
        return protocol
