"""The WebSocket endpoint: messages in, messages out."""

from __future__ import annotations

from typing import Any, Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from zope.interface import implementer

from ..core.errors import Forbidden, Internal, InvalidInput, Refusal, TooLarge, Unavailable
from ..core.hub import Hub, Line
from ..core.model import timestamp
from ..core.ports import Identity
from ..core.session import Session
from ..core.wire import Authenticate, Farewell, Leave, Ping, Reply, Why
from ..jsontext import dumps
from . import codec
from .rfc6455 import WORTH_DEFLATING, Rfc6455Protocol

MAX_MESSAGE = 1024 * 1024  # bytes
MAX_ECHO = 16 * 1024 * 1024  # bytes
PING_SIZE = 2  # bytes of a ping without payload

REFUSALS: dict[int, type[Refusal]] = {403: Forbidden, 431: TooLarge, 500: Internal}


@implementer(IPushProducer)
class EventsProtocol(Rfc6455Protocol):
    """Lends its connection to a `Session`."""

    factory: EventsFactory
    session: Session | None = None
    identity: Identity | None = None  # whom no one asks for a token
    _token: str | None = None  # from the handshake
    _last: tuple[int | None, str] = (1000, "")  # of the Close frame that `stopped` asked for

    # Autobahn calls these.

    def dataReceived(self, data: bytes) -> None:
        self.factory.line.traffic.read(len(data))
        if self.session is not None:
            self.session.heard()
        super().dataReceived(data)

    def onConnect(self, request: ConnectionRequest) -> None:
        super().onConnect(request)
        origin = request.origin
        own = not origin or self._is_own(origin, request.headers["host"])
        if not own and not self.factory.allowed_origin(origin):
            raise ConnectionDeny(403, f"Origin not allowed: {origin}")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            self._token = token.strip()

    def onOpen(self) -> None:
        self.http_request_data = b""  # it may hold a token
        self.http_headers.clear()
        factory = self.factory
        host = getattr(self.transport.getPeer(), "host", "")
        try:
            self.session = factory.hub.admit(self, host, factory.line, self.identity)
        except Refusal as refusal:
            self._stopped = True
            code = 1001 if isinstance(refusal, Unavailable) else 1008
            self.finish(code, refusal.message)
            return
        self.transport.registerProducer(self, True)
        if self._token is not None:
            token, self._token = self._token, None
            self.session.receive(Authenticate(token), len(token))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.session is not None
        self.session.receive(codec.decode(payload), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.session is not None:
            self.session.lost()

    # The base class calls these.

    def stopped(self, code: int | None, reason: str, failed: bool) -> None:
        assert self.session is not None
        self._last = code, reason
        self.session.receive(Leave(Why.UNTRUSTED if failed else Why.LEFT))

    def refusal_body(self, code: int, reason: str) -> bytes:
        kind = REFUSALS.get(code, InvalidInput)
        error = {"code": kind.code, "message": reason}
        return dumps({"success": False, "error": error, "timestamp": timestamp(self.factory.now())})

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether a page that came from this server opened the connection."""
        return origin.partition("://")[2].lower() == host.lower()

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        assert self.session is not None
        self.session.outbox.pauseProducing()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        assert self.session is not None
        self.session.outbox.resumeProducing()

    # The session calls these: core.ports.Peer.

    def send(self, reply: Reply) -> int:
        """The size is that of the frame before compression."""
        if isinstance(reply, Ping):
            self.sendPing()
            return PING_SIZE
        frame = codec.encode(reply, self.factory.now())
        if self._perMessageCompress is None or len(frame) < WORTH_DEFLATING:
            self.transport.write(frame)
        else:
            self.sendMessage(codec.text_of(frame))
        return len(frame)

    def size(self, reply: Reply) -> int:
        return PING_SIZE if isinstance(reply, Ping) else len(codec.encode(reply, self.factory.now()))

    def close(self, why: Farewell) -> None:
        if why.why in (Why.LEFT, Why.UNTRUSTED):
            self.finish(*self._last)
            return
        self.sendCloseFrame(codec.CLOSE_CODES[why.why], codec.close_reason(why).encode())
        self.transport.unregisterProducer()
        if self._held:
            self.release()  # the peer's answer is what we wait for

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self.hold()

    def resume(self) -> None:
        self.release()


class EchoProtocol(EventsProtocol):
    """Says back what it hears, for conformance suites (contract, section 4)."""

    identity = Identity("echo", "echo", float("inf"))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload, isBinary)

    # Who does not read their echo is not listened to.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.hold()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.release()


class EventsFactory(WebSocketServerFactory):
    """Builds the protocol for each connection.

    `allowed_origin` is asked about each `Origin` but the server's own; `clock`
    tells the time in seconds since the epoch.
    """

    noisy = False

    def __init__(
        self,
        hub: Hub,
        line: Line,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
        max_message: int = MAX_MESSAGE,
        compress: bool = True,
        protocol: type[EventsProtocol] = EventsProtocol,
    ) -> None:
        super().__init__(server="", reactor=clock)
        self.hub = hub
        self.line = line
        self.now = clock.seconds
        self.allowed_origin = allowed_origin
        self._protocol = protocol
        self._options: dict[str, Any] = {"maxMessagePayloadSize": max_message}
        if not compress:
            self._options["perMessageCompressionAccept"] = lambda offers: None

    def buildProtocol(self, addr: IAddress | None) -> EventsProtocol:  # type: ignore[override]
        protocol = self._protocol()
        protocol.factory = self
        protocol.__dict__.update(self._options)
        return protocol
