"""The opening handshake (RFC 6455, 4.2): which are accepted, and how the others are refused.

Stock Autobahn accepts a handshake of any size, answers a wrong version with 400,
and fails the handshake for an extension offer that it ought to decline.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from attrs import field, frozen
from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.compress import PerMessageDeflateOffer, PerMessageDeflateOfferAccept
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest

from ..base.bearer import parse_bearer
from .deflate import FinalBlockDeflate
from .factory import Rfc6455Factory
from .memory import CompactConnection

HeaderLines = tuple[tuple[bytes, bytes], ...]

MAX_HANDSHAKE_SIZE = 16 * 1024  # bytes

# RFC 9110, 5.5: no controls, no lone CR or LF, no folded lines.  Autobahn ends a line at all of them.
_FORBIDDEN_BYTES = re.compile(rb"[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\n[ \t]")
_SUBPROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 6455, 4.1: a token
_VERSION_HEADER = re.compile(rb"(?i)\r\nsec-websocket-version:[ \t]*([^\r]*?)[ \t]*(?=\r)")

REFUSAL_STATUSES = frozenset((400, 403, 405, 426, 431, 505))
STATUS_HEADERS: dict[int, HeaderLines] = {
    405: ((b"Allow", b"GET"),),
    # RFC 9110, 7.8: who sends Upgrade names it in Connection.
    426: ((b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Version", b"13")),
}


@frozen
class HandshakeRefusal:
    """The HTTP response to a handshake that was not accepted."""

    status: int
    headers: HeaderLines
    body: bytes = field(repr=False)  # JSON


def accept_deflate(offers: list[Any]) -> PerMessageDeflateOfferAccept:
    """Accept the first offer, with a compressor of 32 KiB and without context takeover."""
    window = min(offers[0].request_max_window_bits or 12, 12)
    return PerMessageDeflateOfferAccept(offers[0], no_context_takeover=True, window_bits=window, mem_level=5)


class HandshakeProtocol(WebSocketServerProtocol, CompactConnection):
    """A connection up to the moment when it is open."""

    versions = [13]
    webStatus = False
    perMessageCompressionAccept = staticmethod(accept_deflate)
    serveFlashSocketPolicy = False
    allowedOriginsPatterns = [re.compile("")]  # `onConnect` asks the factory
    maxConnections = 0  # the hub counts
    trustXForwardedFor = 0
    openHandshakeTimeout = 0  # seconds: the HTTP channel has a timeout for the request
    subprotocols: tuple[str, ...] = ()  # that the subclass speaks

    factory: Rfc6455Factory
    transport: Any  # of TCP or TLS
    client: Any = None  # IAddress of the client behind a trusted proxy, or of the peer
    secure: bool = False  # whether the client is known to have used TLS
    request_id: str | None = None  # of the request that is the handshake
    data: bytes  # received and not yet parsed
    websocket_extensions: list[Any]  # offered, as (name, params)
    token: str | None = None  # the bearer token in the handshake
    _perMessageCompress: Any  # Autobahn's: what was negotiated, or `None`
    on_accepted: Callable[[], object] | None = None  # called before the connection ceases to be HTTP's
    refusal: HandshakeRefusal | None = None  # for the HTTP server to send

    def refusal_body(self, code: int, reason: str) -> bytes:
        """For subclasses: the JSON body of a refused handshake."""
        raise NotImplementedError

    @property
    def host(self) -> str:
        """The client's address."""
        return getattr(self.client or self.transport.getPeer(), "host", "")

    # Autobahn calls these.

    def processHandshake(self) -> None:
        end = self.data.find(b"\r\n\r\n")
        if (len(self.data) if end < 0 else end) > MAX_HANDSHAKE_SIZE:
            return self.failHandshake(f"The handshake has at most {MAX_HANDSHAKE_SIZE} bytes", 431)
        if end < 0:
            return None
        head = self.data[: end + 2]
        if _FORBIDDEN_BYTES.search(head):
            return self.failHandshake("A header holds control characters", 400)
        if head.startswith(b"GET ") and _VERSION_HEADER.findall(head) != [b"13"]:
            return self.failHandshake("This is a WebSocket endpoint of version 13", 426)
        # Legal in a header's value, but Autobahn takes it for the end of a line.
        self.data = head.replace(b"\x85", b"?") + self.data[end + 2 :]
        super().processHandshake()
        return None

    def onConnect(self, request: ConnectionRequest) -> tuple[str | None, dict[str, str]]:
        """The subprotocol to use, and headers of the response."""
        # RFC 7692, 5: an offer that makes no sense is declined, not an error.
        self.websocket_extensions = [offer for offer in self.websocket_extensions if _is_valid_offer(*offer)]
        origin = request.origin
        if (
            origin
            and not _is_same_origin(origin, request.headers["host"], self.secure)
            and not self.factory.allowed_origin(origin)
        ):
            raise ConnectionDeny(403, f"Origin not allowed: {origin}")
        self.token = parse_bearer(request.headers.get("authorization", ""))
        subprotocol = self.choose_subprotocol(
            [name for name in request.protocols if _SUBPROTOCOL.fullmatch(name)]
        )
        return subprotocol, {} if self.request_id is None else {"X-Correlation-Id": self.request_id}

    def choose_subprotocol(self, offered: list[str]) -> str | None:
        """Of those in `subprotocols`, the one that the client named first."""
        return next((name for name in offered if name in self.subprotocols), None)

    def succeedHandshake(self, res: Any) -> None:
        if self.on_accepted is not None:
            self.on_accepted()
        super().succeedHandshake(res)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: object = None) -> None:
        """Refuse with HTTP `code`; `reason` is for the client."""
        if code not in REFUSAL_STATUSES:
            code, reason = 500, "Internal server error"
        self.refusal = HandshakeRefusal(code, STATUS_HEADERS.get(code, ()), self.refusal_body(code, reason))
        self.state = self.STATE_CLOSED

    def onOpen(self) -> None:
        self.http_request_data = b""  # it may hold a token; and so may the headers
        deflate: Any = self._perMessageCompress
        if deflate is not None:
            self._perMessageCompress = FinalBlockDeflate.of(deflate)
        self.drop_handshake_state()


def _is_same_origin(origin: str, host: str, secure: bool) -> bool:
    """Whether a page of `origin` came from the server that it now connects to.

    Over TLS, that is no page that came without: anybody on its way could have written it.  Without, a proxy that does
    not say so may have ended TLS.
    """
    scheme, _, name = origin.lower().partition("://")
    return name == host.lower() and (scheme == "https" or (scheme == "http" and not secure))


def _is_valid_offer(name: str, params: dict[str, Any]) -> bool:
    if name != PerMessageDeflateOffer.EXTENSION_NAME:
        return False
    try:
        PerMessageDeflateOffer.parse(params)
    except Exception:  # it raises nothing narrower
        return False
    return True
