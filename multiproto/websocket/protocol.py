"""The WebSocket endpoint: messages in, messages out."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from ..core.errors import Forbidden, Internal, InvalidInput, RateLimited, Refusal, TooLarge, Unavailable
from ..core.hub import Hub, Line
from ..core.model import timestamp
from ..core.ports import Identity
from ..core.session import Session
from ..core.wire import AT_ONCE, Authenticate, Burst, Farewell, Leave, Ping, Reply, Why
from ..jsontext import dumps
from ..rfc6455.codec import BINARY, TEXT, frame
from ..rfc6455.factory import Rfc6455Factory
from ..rfc6455.protocol import WORTH_DEFLATING, Rfc6455Protocol
from . import codec, quick

MAX_MESSAGE = 1024 * 1024  # bytes
MAX_ECHO = 16 * 1024 * 1024  # bytes
PING_SIZE = 2  # bytes of a ping without payload

REFUSALS: dict[int, type[Refusal]] = {403: Forbidden, 429: RateLimited, 431: TooLarge, 500: Internal}


class EventsProtocol(Rfc6455Protocol):
    """Lends its connection to a `Session`."""

    factory: EventsFactory
    session: Session | None = None
    identity: Identity | None = None  # whom no one asks for a token

    # Autobahn calls these.

    def dataReceived(self, data: bytes) -> None:
        self.factory.line.traffic.read(len(data))
        if self.session is not None:
            self.session.heard(len(data))
        super().dataReceived(data)

    def onOpen(self) -> None:
        super().onOpen()
        factory = self.factory
        try:
            self.session = factory.hub.admit(self, self.host, factory.line, self.identity)
        except Refusal as refusal:
            self.turn_away(1001 if isinstance(refusal, Unavailable) else 1008, refusal.message)
            return
        self.transport.registerProducer(self, True)
        if self.token is not None:
            token, self.token = self.token, None
            self.session.receive(Authenticate(token), len(token))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.session is not None
        self.session.receive(self.factory.decode(payload), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.session is not None:
            self.session.lost()

    # The base class calls these.

    def stopped(self, failed: bool) -> None:
        assert self.session is not None
        self.session.receive(Leave(Why.UNTRUSTED if failed else Why.LEFT))

    def refusal_body(self, code: int, reason: str) -> bytes:
        kind = REFUSALS.get(code, InvalidInput)
        error = {"code": kind.code, "message": reason}
        return dumps({"success": False, "error": error, "timestamp": timestamp(self._now())})

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
        framed = codec.encode(reply, self._now())
        self.say(framed)
        return len(framed)

    def send_all(self, burst: Burst) -> int:
        """Not where a message might be compressed: those are made one by one."""
        framed = codec.encode_all(burst)
        size = len(framed)
        if size > AT_ONCE or self._perMessageCompress is not None and size >= WORTH_DEFLATING:
            return 0
        if self.state == self.STATE_OPEN:
            self.transport.write(framed)
        return size

    def size(self, reply: Reply) -> int:
        return PING_SIZE if isinstance(reply, Ping) else len(codec.encode(reply, self._now()))

    def close(self, why: Farewell) -> None:
        if why.why in codec.CLOSE_CODES:
            self.last_word = codec.CLOSE_CODES[why.why], codec.close_reason(why)
        self.say_goodbye()

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self.hold("busy")

    def resume(self) -> None:
        self.release("busy")

    def _now(self) -> float:
        return self.factory.clock.seconds()


class EchoProtocol(EventsProtocol):
    """Says back what it hears, for conformance suites (contract, section 4)."""

    identity = Identity("echo", "echo", float("inf"))

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.say(frame(payload, BINARY if isBinary else TEXT))

    # Who does not read their echo is not listened to.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self.hold("clogged")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self.release("clogged")


class EventsFactory(Rfc6455Factory):
    """Builds the protocol for each connection."""

    def __init__(
        self,
        hub: Hub,
        line: Line,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
        max_message: int = MAX_MESSAGE,
        compress: bool = True,
        protocol: type[EventsProtocol] = EventsProtocol,
        fast: bool = True,
    ) -> None:
        super().__init__(clock, allowed_origin, line.wait, fast)
        self.hub = hub
        self.line = line
        self.decode = quick.decode if fast else codec.decode
        self._protocol = protocol
        self._options: dict[str, Any] = {"maxMessagePayloadSize": max_message}
        if not compress:
            self._options["perMessageCompressionAccept"] = lambda offers: None

    def buildProtocol(self, addr: IAddress | None) -> EventsProtocol:  # type: ignore[override]
        protocol = self._protocol()
        protocol.factory = self
        protocol.__dict__.update(self._options)
        return protocol
