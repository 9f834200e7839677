"""Autobahn's server protocol, corrected where version 26.10 deviates from RFC 6455 and 7692.

It knows nothing of what the messages mean.  Stock Autobahn drops the connection
without a Close frame on a protocol error and after a malformed Close, answers
every Close with 1000, counts compressed bytes against the limit of a message,
and applies the limit for received messages to sent ones as well.
"""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from .codec import encode_close_reason
from .fast_frames import parse_frames
from .handshake import HandshakeProtocol

MIN_COMPRESS_SIZE = 256  # bytes of a frame; a shorter one gains too little
MAX_FRAMES_AT_ONCE = 200  # plain ones that are read before the peer is asked whether it still has time


@implementer(IPushProducer)
class Rfc6455Protocol(HandshakeProtocol):
    """An open WebSocket; the subclass knows what a message means, and when the last reply is sent.

    The subclass sets `max_message_size`, and registers itself as the
    transport's producer once it is open.
    """

    # Autobahn copies each option to each connection and pretty-prints them all
    # for a log line that nobody reads.  As attributes of the class they cost nothing.
    CONFIG_ATTRS: list[str] = []
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = True
    utf8validateIncoming = True
    logOctets = logFrames = trackTimings = False
    maxFramePayloadSize = 0  # a message's limit is a frame's
    max_message_size: int  # bytes, after decompression
    autoFragmentSize = 0
    failByDrop = True  # makes Autobahn read nothing more; `_fail_connection` is ours
    closeHandshakeTimeout = 0  # seconds: Autobahn's timers don't follow a test clock, the core's do
    tcpNoDelay = True
    autoPingInterval = autoPingTimeout = 0

    close_status: tuple[int | None, str] = (1000, "")  # code and reason of the Close frame to send
    _isMessageCompressed = False  # the message being received
    _input_ended = False  # nothing more is read
    _read_pause_reasons: frozenset[str] = frozenset()
    _write_paused = False  # the transport's buffer is full
    _pending_ping: bytes | None = None  # payload of the last ping that arrived meanwhile

    # Subclasses implement this.

    def on_end_of_input(self, failed: bool) -> None:
        """The peer sent Close, or broke the protocol: close once every message is answered."""
        raise NotImplementedError

    def has_time_to_read(self) -> bool:
        """Whether another frame may be read at once; if not, whoever says so pauses the reading."""
        return True

    @property
    def maxMessagePayloadSize(self) -> int:
        """Autobahn's name for the bytes that a message may have at the moment, after decompression."""
        return self.max_message_size

    # Subclasses call these.

    def write_frame(self, framed: bytes) -> None:
        """Send a frame made by `codec.encode_frame`, compressed where that was negotiated and is worth it."""
        if self.state != self.STATE_OPEN:
            return
        self.transport.write(self.compress_if_worth(framed))

    def compress_if_worth(self, framed: bytes) -> bytes:
        """`framed`, compressed where that was negotiated and gains enough."""
        deflate = self._perMessageCompress
        if deflate is not None and len(framed) >= MIN_COMPRESS_SIZE:
            return self.factory.compress_frame(framed, deflate)
        return framed

    def pause_for(self, reason: str) -> None:
        """Read no frame after the current one, until `resume_from` was called for each `reason`."""
        self._read_pause_reasons |= {reason}
        self.transport.pauseProducing()

    def resume_from(self, reason: str) -> None:
        if reason in self._read_pause_reasons:
            self._read_pause_reasons -= {reason}
            if not self._read_pause_reasons:
                self.transport.resumeProducing()
                self.consumeData()

    def reject(self, code: int, reason: str) -> None:
        """Close right after opening, without waiting for the peer's Close."""
        self._input_ended = True
        self.close_status = code, reason
        self.start_closing_handshake()

    def start_closing_handshake(self) -> None:
        """Send a Close frame with `close_status`; nothing may be written after it."""
        code, reason = self.close_status
        self.sendCloseFrame(code, encode_close_reason(reason), isReply=self._input_ended)
        self.transport.unregisterProducer()
        if not self._input_ended:
            for pause_reason in self._read_pause_reasons:
                self.resume_from(pause_reason)  # the peer's Close has to be read
        elif self.failedByMe:
            # RFC 6455, 7.1.1.  Closing both halves while the peer still sends
            # would reset the connection, and the peer might never read the Close frame.
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.is_closed = None  # Autobahn's Deferred, whose result is this: garbage in a circle

    # Frames.

    def dataReceived(self, data: bytes) -> None:
        """Autobahn's own formats a log line for each packet, which nobody reads."""
        self.data += data
        self.consumeData()

    def consumeData(self) -> None:
        if self.state == self.STATE_CONNECTING:
            self.processHandshake()
            return
        # One packet may hold thousands of pings, or compressed messages that are large.
        while self._can_read and self.has_time_to_read():
            count = self._read_fast_frames(MAX_FRAMES_AT_ONCE)
            if count < MAX_FRAMES_AT_ONCE and (not self._can_read or not self.processData()):
                break
        if self._input_ended:
            self.data = b""  # the peer may go on sending until it reads our Close

    @property
    def _can_read(self) -> bool:
        return not self._input_ended and not self._read_pause_reasons and self.state != self.STATE_CLOSED

    def _read_fast_frames(self, max_frames: int) -> int:
        """Read plain frames until there is another kind; returns how many there were."""
        if self.inside_message or self.current_frame is not None:
            return 0
        # A `resume_from` within `onMessage` finds nothing: the loop here goes on.
        data, self.data = self.data, b""
        consumed = 0
        try:
            consumed, count = parse_frames(data, self.maxMessagePayloadSize, max_frames, self._handle_message)
        finally:
            self.data = data[consumed:]
        return count

    def _handle_message(self, payload: bytes, is_binary: bool) -> bool:
        self.onMessage(payload, is_binary)
        return self._can_read and self.state == self.STATE_OPEN

    def onMessageFrameBegin(self, length: int) -> None:
        # Of a compressed frame, the inflated size counts.
        super().onMessageFrameBegin(0 if self._isMessageCompressed else length)

    def onFrameData(self, payload: bytes) -> bool | None:
        if self.current_frame.opcode <= 2 and self._isMessageCompressed:
            # Autobahn subtracts the frame's length again before it inflates.
            self.message_data_total_length += len(payload)
        result: bool | None = super().onFrameData(payload)
        return result

    def onPing(self, payload: bytes) -> None:
        """RFC 6455, 5.5.3: of several pings, the last may be answered for all."""
        if self._write_paused:
            self._pending_ping = payload
        else:
            self.sendPong(payload)

    # The closing handshake.

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:
        try:
            reason = (reasonRaw or b"").decode()
        except UnicodeDecodeError:
            self._fail_connection(1007, "The reason is not UTF-8")
            return True
        if code is not None and not _is_valid_close_code(code):
            self._fail_connection(1002, f"Invalid close code {code}")
            return True
        self._end_input(code, reason, failed=False)
        return True

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        self.failedByMe = True  # Autobahn drops what still arrives
        self._end_input(code, reason, failed=True)

    def _end_input(self, code: int | None, reason: str, failed: bool) -> None:
        self._input_ended = True
        if self.state == self.STATE_OPEN:
            self.close_status = code, reason
            self.on_end_of_input(failed)
        else:
            self.transport.loseConnection()  # this was the answer to our Close

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        self._write_paused = True

    def resumeProducing(self) -> None:
        self._write_paused = False
        if self._pending_ping is not None:
            payload, self._pending_ping = self._pending_ping, None
            self.sendPong(payload)

    def stopProducing(self) -> None:
        """`onClose` follows."""


def _is_valid_close_code(code: int) -> bool:
    """Whether a peer may send `code` (RFC 6455, 7.4, and its registry)."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
