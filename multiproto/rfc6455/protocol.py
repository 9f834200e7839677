"""Autobahn's server protocol, mended where version 26.10 strays from RFC 6455 and 7692.

It knows nothing of what the messages say.  Stock Autobahn drops the connection
without a word on a protocol error and after a malformed Close, answers every
Close with 1000, counts compressed bytes against the limit of a message, and
holds what we send to the limit of what we read.
"""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .codec import close_reason
from .handshake import HandshakeProtocol
from .plain import take

WORTH_DEFLATING = 256  # bytes; a shorter text gains too little
FRAMES = 200  # that one peer may have read in one turn of the reactor; a ping takes some 20 µs


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

    last_word: tuple[int | None, str] = (1000, "")  # code and reason of the Close frame we are to send
    _isMessageCompressed = False  # the one under way
    _stopped = False  # nothing is read any more, for good
    _held: frozenset[str] = frozenset()  # reasons to read nothing for now
    _clogged = False  # the transport takes no more for now
    _owed: bytes | None = None  # the last ping that came while clogged

    # What subclasses are told.

    def stopped(self, failed: bool) -> None:
        """The peer said Close, or what can't be followed: say goodbye when all is answered."""
        raise NotImplementedError

    # What subclasses ask.

    def say(self, framed: bytes) -> None:
        """Send what `codec.frame` made, compressed where that was agreed on and is worth it."""
        if self.state != self.STATE_OPEN:
            return
        deflate = self._perMessageCompress
        if deflate is not None and len(framed) >= WORTH_DEFLATING:
            framed = self.factory.squeeze(framed, deflate)
        self.transport.write(framed)

    def hold(self, reason: str) -> None:
        """Take no frame after the current one, until each `reason` given is released."""
        self._held |= {reason}
        self.transport.pauseProducing()

    def release(self, reason: str) -> None:
        if reason in self._held:
            self._held -= {reason}
            if not self._held:
                self.transport.resumeProducing()
                self.consumeData()

    def turn_away(self, code: int, reason: str) -> None:
        """Close what was only just opened, and wait for no answer."""
        self._stopped = True
        self.last_word = code, reason
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """Send `last_word`; then nobody is to write any more."""
        code, reason = self.last_word
        self.sendCloseFrame(code, close_reason(reason), isReply=self._stopped)
        self.transport.unregisterProducer()
        if not self._stopped:
            for held in self._held:
                self.release(held)  # the peer's answer is what we wait for
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
        left = FRAMES
        while self._goes_on:
            left -= self._take_plain(left)
            if left and (not self._goes_on or not self.processData()):
                break
            left -= 1
            if left <= 0:  # thousands of pings may come in one packet
                self.hold("turn")
                self.factory.clock.callLater(0, self.release, "turn")
        if self._stopped:
            self.data = b""  # the peer may go on sending until it reads our Close

    @property
    def _goes_on(self) -> bool:
        return not self._stopped and not self._held and self.state != self.STATE_CLOSED

    def _take_plain(self, most: int) -> int:
        """Take as many messages as there is a short way for, at most `most`; how many there were."""
        if not self.factory.fast or self.inside_message or self.current_frame is not None:
            return 0
        data, self.data = self.data, b""  # whoever releases us meanwhile finds nothing: we go on ourselves
        at = 0
        try:
            at, taken = take(data, self.maxMessagePayloadSize, most, self._hear)
        finally:
            self.data = data[at:]
        return taken

    def _hear(self, payload: bytes, is_binary: bool) -> bool:
        self.onMessage(payload, is_binary)
        return self._goes_on and self.state == self.STATE_OPEN

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
        if self._clogged:
            self._owed = payload
        else:
            self.sendPong(payload)

    # The closing handshake.

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> bool:
        try:
            reason = (reasonRaw or b"").decode()
        except UnicodeDecodeError:
            self._fail_connection(1007, "The reason is not UTF-8")
            return True
        if code is not None and not _may_be_sent(code):
            self._fail_connection(1002, f"Invalid close code {code}")
            return True
        self._stop(code, reason, failed=False)
        return True

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        self.failedByMe = True  # Autobahn keeps no more of what is coming
        self._stop(code, reason, failed=True)

    def _stop(self, code: int | None, reason: str, failed: bool) -> None:
        self._stopped = True
        if self.state == self.STATE_OPEN:
            self.last_word = code, reason
            self.stopped(failed)
        else:
            self.transport.loseConnection()  # that came as the answer to our Close

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        self._clogged = True

    def resumeProducing(self) -> None:
        self._clogged = False
        if self._owed is not None:
            payload, self._owed = self._owed, None
            self.sendPong(payload)

    def stopProducing(self) -> None:
        """`onClose` follows."""


def _may_be_sent(code: int) -> bool:
    """RFC 6455, 7.4, and the registry it founded."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
