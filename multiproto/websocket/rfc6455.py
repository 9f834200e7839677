"""Autobahn's server protocol, mended where version 26.10 strays from RFC 6455 and 7692.

It knows nothing of what the messages say.  Stock Autobahn takes a handshake of
any size, answers a wrong version with 400, drops the connection without a word
on a protocol error and after a malformed Close, answers every Close with 1000,
fails the handshake for an extension offer that it ought to decline, and counts
compressed bytes against the limit of a message.
"""

from __future__ import annotations

import re
from typing import Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from autobahn.websocket.types import ConnectionRequest

MAX_HANDSHAKE = 16 * 1024  # bytes
WORTH_DEFLATING = 256  # bytes; a shorter text gains too little

# RFC 9110, 5.5: no controls, no lone CR or LF, no folded lines.  Autobahn ends a line at all of them.
_UNFIT = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\n[ \t]")
_VERSION = re.compile(rb"(?i)\r\nsec-websocket-version:[ \t]*([^\r]*?)[ \t]*(?=\r)")

REASONS = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    426: "Upgrade Required",
    431: "Request Header Fields Too Large",
    505: "HTTP Version Not Supported",
}
DEMANDS = {
    405: "Allow: GET\r\n",
    426: "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
}


def accept_deflate(offers: list[Any]) -> PerMessageDeflateOfferAccept:
    """Take the first offer, with a compressor of 32 KiB that forgets after each message."""
    window = min(offers[0].request_max_window_bits or 12, 12)
    return PerMessageDeflateOfferAccept(offers[0], no_context_takeover=True, window_bits=window, mem_level=5)


class Rfc6455Protocol(WebSocketServerProtocol):
    """A connection whose subclass knows what a message means, and when all is answered."""

    # Autobahn copies each option to each connection and pretty-prints them all
    # for a log line that nobody reads.  As attributes of the class they cost nothing.
    CONFIG_ATTRS: list[str] = []
    versions = [13]
    webStatus = False
    requireMaskedClientFrames = True
    maskServerFrames = False
    applyMask = True
    utf8validateIncoming = True
    perMessageCompressionAccept = staticmethod(accept_deflate)
    serveFlashSocketPolicy = False
    allowedOriginsPatterns = [re.compile("")]  # `onConnect` asks who knows
    maxConnections = 0  # the hub counts
    trustXForwardedFor = 0
    logOctets = logFrames = trackTimings = False
    maxFramePayloadSize = 0  # a message's limit is a frame's
    maxMessagePayloadSize: int  # bytes, after decompression
    autoFragmentSize = 0
    failByDrop = True  # makes Autobahn read nothing more; `_fail_connection` is ours
    openHandshakeTimeout = closeHandshakeTimeout = (
        0  # seconds: its timers know no test clock, the session's do
    )
    tcpNoDelay = True
    autoPingInterval = autoPingTimeout = 0

    transport: Any  # of TCP or TLS
    data: bytes  # received and not yet understood
    websocket_extensions: list[Any]  # offered, as (name, params)
    _isMessageCompressed = False  # the one under way
    _stopped = False  # nothing is read any more, for good
    _held = False  # nothing is read for now
    _clogged = False  # the transport takes no more for now
    _owed: bytes | None = None  # the last ping that came while clogged

    # What subclasses are told.

    def stopped(self, code: int | None, reason: str, failed: bool) -> None:
        """The peer said Close, or what can't be followed: `finish` with `code` when all is answered."""
        raise NotImplementedError

    # What subclasses ask.

    def finish(self, code: int | None, reason: str) -> None:
        """Close after `stopped`, with the Close frame that it was told."""
        self.sendCloseFrame(code, reason.encode(), isReply=True)
        self.transport.unregisterProducer()
        if self.failedByMe:
            # RFC 6455, 7.1.1.  Closing both halves while the peer still sends
            # would reset the connection, and the peer might never read why.
            self.transport.loseWriteConnection()
            self.transport.resumeProducing()
        else:
            self.transport.loseConnection()

    def hold(self) -> None:
        """Take no frame after the current one."""
        self._held = True
        self.transport.pauseProducing()

    def release(self) -> None:
        self._held = False
        self.transport.resumeProducing()
        self.consumeData()

    # The opening handshake.

    def processHandshake(self) -> None:
        end = self.data.find(b"\r\n\r\n")
        if (len(self.data) if end < 0 else end) > MAX_HANDSHAKE:
            return self.failHandshake(f"The handshake has at most {MAX_HANDSHAKE} bytes", 431)
        if end < 0:
            return None
        head = self.data[: end + 2]
        if _UNFIT.search(head):
            return self.failHandshake("A header holds control characters", 400)
        if head.startswith(b"GET ") and _VERSION.findall(head) != [b"13"]:
            return self.failHandshake("This is a WebSocket endpoint of version 13", 426)
        # Legal in a header's value, but Autobahn takes it for the end of a line.
        self.data = head.replace(b"\x85", b"?") + self.data[end + 2 :]
        super().processHandshake()
        return None

    def onConnect(self, request: ConnectionRequest) -> None:
        # RFC 7692, 5: an offer that makes no sense is declined, not an error.
        self.websocket_extensions = [offer for offer in self.websocket_extensions if _sensible(*offer)]

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: object = None) -> None:
        """Answer with HTTP `code` and close; `reason` is for the client."""
        if code not in REASONS:
            code, reason = 500, "Internal server error"
        body = self.refusal_body(code, reason)
        head = (
            f"HTTP/1.1 {code} {REASONS.get(code, reason)}\r\n{DEMANDS.get(code, '')}Connection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.state = self.STATE_CLOSED
        self.transport.loseConnection()

    def refusal_body(self, code: int, reason: str) -> bytes:
        """JSON that tells why there will be no WebSocket."""
        raise NotImplementedError

    # Frames.

    def consumeData(self) -> None:
        if self.state == self.STATE_CONNECTING:
            self.processHandshake()
            return
        while not self._stopped and not self._held and self.state != self.STATE_CLOSED:
            if not self.processData():
                break
        if self._stopped:
            self.data = b""  # the peer may go on sending until it reads our Close

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
        if self.state == self.STATE_OPEN:
            self._stop(code, reason, failed=False)
        else:
            self._stopped = True
            self.transport.loseConnection()  # that was the answer to ours
        return True

    def _fail_connection(self, code: int = 1002, reason: str = "") -> None:
        self.failedByMe = True  # Autobahn keeps no more of what is coming
        if self.state == self.STATE_OPEN:
            self._stop(code, reason[:120], failed=True)
        else:
            self._stopped = True
            self.transport.loseConnection()

    def _stop(self, code: int | None, reason: str, failed: bool) -> None:
        self._stopped = True
        self.stopped(code, reason, failed)

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


def _sensible(name: str, params: dict[str, Any]) -> bool:
    if name != PerMessageDeflateOffer.EXTENSION_NAME:
        return False
    try:
        PerMessageDeflateOffer.parse(params)
    except Exception:  # it raises nothing narrower
        return False
    return True


def _may_be_sent(code: int) -> bool:
    """RFC 6455, 7.4, and the registry it founded."""
    return code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
