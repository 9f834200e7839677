"""Autobahn's server protocol, mended where version 26.10 strays from RFC 6455 and 7692.

It knows nothing of what the messages say.  Stock Autobahn drops the connection
without a word on a protocol error and after a malformed Close, answers every
Close with 1000, counts compressed bytes against the limit of a message, and
holds what we send to the limit of what we read.
"""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .codec import encode_close_reason
from .fast_frames import parse_frames
from .handshake import HandshakeProtocol

MIN_COMPRESS_SIZE = 256  # bytes; a shorter text gains too little
MAX_FRAMES_PER_TURN = 200  # that one peer may have read in one turn of the reactor; a ping takes some 20 µs


@implementer(IPushProducer)
class Rfc6455Protocol(HandshakeProtocol):
    """An open connection, whose subclass knows what a message means, and when all is answered.

    The subclass sets `maxMessagePayloadSize`, and registers itself with the
    transport once it is open.
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
    maxMessagePayloadSize: int  # bytes, after decompression
    autoFragmentSize = 0
    failByDrop = True  # makes Autobahn read nothing more; `_fail_connection` is ours
    closeHandshakeTimeout = 0  # seconds: Autobahn's timers know no test clock, the session's do
    tcpNoDelay = True
    autoPingInterval = autoPingTimeout = 0

    close_status: tuple[int | None, str] = (1000, "")  # code and reason of the Close frame we are to send
    _isMessageCompressed = False  # the one under way
    _input_ended = False  # nothing is read any more, for good
    _read_pause_reasons: frozenset[str] = frozenset()  # reasons to read nothing for now
    _write_paused = False  # the transport takes no more for now
    _pending_ping: bytes | None = None  # the last ping that came while clogged

    # What subclasses are told.

    def on_end_of_input(self, failed: bool) -> None:
        """The peer said Close, or what can't be followed: say goodbye when all is answered."""
        raise NotImplementedError

    # What subclasses ask.

    def write_frame(self, framed: bytes) -> None:
        """Send what `codec.frame` made, compressed where that was agreed on and is worth it."""
        if self.state != self.STATE_OPEN:
            return
        deflate = self._perMessageCompress
        if deflate is not None and len(framed) >= MIN_COMPRESS_SIZE:
            framed = self.factory.compress_frame(framed, deflate)
        self.transport.write(framed)

    def pause_for(self, reason: str) -> None:
        """Take no frame after the current one, until each `reason` given is released."""
        self._read_pause_reasons |= {reason}
        self.transport.pauseProducing()

    def resume_from(self, reason: str) -> None:
        if reason in self._read_pause_reasons:
            self._read_pause_reasons -= {reason}
            if not self._read_pause_reasons:
                self.transport.resumeProducing()
                self.consumeData()

    def reject(self, code: int, reason: str) -> None:
        """Close what was only just opened, and wait for no answer."""
        self._input_ended = True
        self.close_status = code, reason
        self.start_closing_handshake()

    def start_closing_handshake(self) -> None:
        """Send `close_status`; then nobody is to write any more."""
        code, reason = self.close_status
        self.sendCloseFrame(code, encode_close_reason(reason), isReply=self._input_ended)
        self.transport.unregisterProducer()
        if not self._input_ended:
            for held in self._read_pause_reasons:
                self.resume_from(held)  # the peer's answer is what we wait for
        elif self.failedByMe:
            # RFC 6455, 7.1.1.  Closing both halves while the peer still sends
            # would reset the connection, and the peer might never read why.
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
        else:
            self.transport.loseConnection()

    # Frames.

    def dataReceived(self, data: bytes) -> None:
        """Autobahn's own spells out a log line for each packet, that nobody reads."""
        self.data += data
        self.consumeData()

    def consumeData(self) -> None:
        if self.state == self.STATE_CONNECTING:
            self.processHandshake()
            return
        left = MAX_FRAMES_PER_TURN
        while self._can_read:
            left -= self._read_fast_frames(left)
            if left and (not self._can_read or not self.processData()):
                break
            left -= 1
            if left <= 0:  # thousands of pings may come in one packet
                self.pause_for("turn")
                self.factory.clock.callLater(0, self.resume_from, "turn")
        if self._input_ended:
            self.data = b""  # the peer may go on sending until it reads our Close

    @property
    def _can_read(self) -> bool:
        return not self._input_ended and not self._read_pause_reasons and self.state != self.STATE_CLOSED

    def _read_fast_frames(self, most: int) -> int:
        """Take as many messages as there is a short way for, at most `most`; how many there were."""
        if not self.factory.fast or self.inside_message or self.current_frame is not None:
            return 0
        data, self.data = self.data, b""  # whoever releases us meanwhile finds nothing: we go on ourselves
        at = 0
        try:
            at, taken = parse_frames(data, self.maxMessagePayloadSize, most, self._handle_message)
        finally:
            self.data = data[at:]
        return taken

    def _handle_message(self, payload: bytes, is_binary: bool) -> bool:
        self.onMessage(payload, is_binary)
        return self._can_read and self.state == self.STATE_OPEN

    def onMessageFrameBegin(self, length: int) -> None:
        # What counts of a compressed frame is what comes out of it.
        super().onMessageFrameBegin(0 if self._isMessageCompressed else length)

    def onFrameData(self, payload: bytes) -> bool | None:
        if self.current_frame.opcode <= 2 and self._isMessageCompressed:
            # Autobahn takes the frame's length off again before it inflates.
            self.message_data_total_length += len(payload)
        found: bool | None = super().onFrameData(payload)
        return found

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
        self.failedByMe = True  # Autobahn keeps no more of what is coming
        self._end_input(code, reason, failed=True)

    def _end_input(self, code: int | None, reason: str, failed: bool) -> None:
        self._input_ended = True
        if self.state == self.STATE_OPEN:
            self.close_status = code, reason
            self.on_end_of_input(failed)
        else:
            self.transport.loseConnection()  # that came as the answer to our Close

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
    """RFC 6455, 7.4, and the registry it founded."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
