"""graphql-transport-ws on Autobahn: the connection, which is a session, and the operations it carries."""

from __future__ import annotations

from typing import Any, Callable

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IAddress, IReactorTime

from ..core.errors import Refusal, Unauthorized, Unavailable
from ..core.hub import Hub, Line
from ..core.session import Session
from ..core.wire import Authenticate, Authenticated, Farewell, Ping, Pong, Refused, Reply, Why
from . import codec
from .context import Caller, bearer
from .execute import Operations
from .valve import Valve
from .workload import Workload

MAX_MESSAGE = 2**20  # bytes


class OperationsProtocol(WebSocketServerProtocol):  # type: ignore[misc]
    """See the module.  The session authenticates, keeps alive and ends; each subscription is a feed."""

    session: Session | None = None

    def __init__(self, factory: OperationsFactory) -> None:
        super().__init__()
        self.factory = factory
        self._held: set[str] = set()  # reasons not to read
        self._valve = Valve(lambda is_open: self._hold("clogged", not is_open))
        self._workload = Workload(
            factory.operations,
            factory.clock,
            self._valve,
            self._caller,
            self.sendMessage,
            lambda is_busy: self._hold("busy", is_busy),
        )
        self._initialised = self._acknowledged = False
        self._authorization: str | None = None  # of the handshake
        self._last_word: tuple[int, str] | None = None  # a close code of our own choice

    # Autobahn calls these.

    def connectionMade(self) -> None:
        self.transport.unregisterProducer()  # the HTTP channel may be left there, and nothing would close
        super().connectionMade()

    def onConnect(self, request: ConnectionRequest) -> str | None:
        origin = request.origin
        is_own = origin and origin.partition("://")[2].lower() == request.headers.get("host", "").lower()
        if origin and not is_own and not self.factory.allowed_origin(origin):
            raise ConnectionDeny(403, "Origin not allowed")
        self._authorization = request.headers.get("authorization")
        return codec.PROTOCOL if codec.PROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        if self.websocket_protocol_in_use is None:
            return self._turn_away(codec.NOT_ACCEPTABLE, f"Subprotocol not acceptable: use {codec.PROTOCOL}")
        try:
            self.session = self.factory.hub.admit(self, self.transport.getPeer().host, self.factory.line)
        except Refusal as refusal:
            code = codec.GOING_AWAY if isinstance(refusal, Unavailable) else codec.POLICY
            return self._turn_away(code, refusal.message)
        self.transport.registerProducer(self._valve, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.session is None or self.session.ended:
            return
        self.session.heard()
        try:
            said = codec.decode(payload)
        except codec.Malformed as malformed:
            return self._hang_up(codec.BAD_REQUEST, str(malformed))
        match said:
            case codec.Init(authorization=authorization):
                self._initialise(self.session, authorization or self._authorization)
            case codec.Begin():
                self._begin(self.session, said)
            case codec.Complete(id=id):
                self._workload.complete(id)
            case codec.Ask():
                self.session.receive(Ping(), len(payload))
            case codec.Answer():
                self.session.receive(Pong(), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._workload.stop()
        self._valve.stopProducing()
        if self.session is not None:
            self.session.lost()

    def sendCloseFrame(self, *args: Any, **options: Any) -> None:
        """Whoever says goodbye, Autobahn of its own accord too: the session is over."""
        super().sendCloseFrame(*args, **options)
        if self.session is not None:
            self.session.end(Why.UNTRUSTED)

    # Messages.

    def _initialise(self, session: Session, authorization: str | None) -> None:
        if self._initialised:
            return self._hang_up(codec.INIT_TWICE, "Too many initialisation requests")
        self._initialised = True
        if authorization is None:
            return self._acknowledge()
        try:
            session.receive(Authenticate(bearer(authorization)), len(authorization))
        except Unauthorized as refusal:
            self._hang_up(codec.FORBIDDEN, refusal.message)

    def _acknowledge(self) -> None:
        self._acknowledged = True
        self.sendMessage(codec.ACK)

    def _begin(self, session: Session, said: codec.Begin) -> None:
        if not self._acknowledged:
            return self._hang_up(codec.UNAUTHORIZED, "Unauthorized")
        if said.id in self._workload:
            return self._hang_up(codec.ID_TAKEN, f"Subscriber for {said.id} already exists")
        self._workload.begin(said.id, said.request)

    def _caller(self) -> Caller:
        """Who asks; a token that ran out ends the session here, not at the hub's next look."""
        session = self.session
        assert session is not None
        identity = session.identity
        if identity is not None and self.factory.clock.seconds() >= identity.until:
            session.end(Why.EXPIRED)
        return Caller(self.transport.getPeer().host, identity, connection=session.id)

    # The line.

    def _close(self, code: int, reason: str) -> None:
        """Autobahn's own `sendClose` knows fewer codes."""
        self.sendCloseFrame(code=code, reasonUtf8=codec.close_reason(reason), isReply=False)

    def _turn_away(self, code: int, reason: str) -> None:
        """Close without a session, which would see to it that the line is cut in the end."""
        self._close(code, reason)
        self.transport.loseConnection()

    def _hang_up(self, code: int, reason: str) -> None:
        assert self.session is not None
        self._last_word = code, reason
        self.session.end(Why.UNTRUSTED)

    def _hold(self, reason: str, held: bool) -> None:
        """Read no more while there is any reason not to."""
        before = bool(self._held)
        (self._held.add if held else self._held.discard)(reason)
        if bool(self._held) != before:
            (self.transport.pauseProducing if held else self.transport.resumeProducing)()

    # The session calls these: core.ports.Peer.

    def send(self, reply: Reply) -> int:
        match reply:
            case Authenticated():
                self._acknowledge()
            case Refused(refusal=refusal):
                code = codec.TRY_LATER if isinstance(refusal, Unavailable) else codec.FORBIDDEN
                self._hang_up(code, refusal.message)
            case Ping():
                self.sendMessage(codec.PING)
            case Pong():
                self.sendMessage(codec.PONG)
        return self.size(reply)

    def size(self, reply: Reply) -> int:
        return len(codec.ACK)

    def close(self, why: Farewell) -> None:
        self._workload.stop()
        self.transport.unregisterProducer()
        self._close(*(self._last_word or (codec.CLOSE_CODES[why.why], why.message)))
        for reason in list(self._held):
            self._hold(reason, False)  # the peer's answer is what we wait for

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self._hold("session", True)

    def resume(self) -> None:
        self._hold("session", False)


class OperationsFactory(WebSocketServerFactory):  # type: ignore[misc]
    """Builds the protocol for each connection.  `allowed_origin` is asked about each `Origin` but our own."""

    noisy = False

    def __init__(
        self,
        operations: Operations,
        hub: Hub,
        line: Line,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
    ) -> None:
        super().__init__(server="", protocols=[codec.PROTOCOL], reactor=clock)
        self.operations = operations
        self.hub = hub
        self.line = line
        self.clock = clock
        self.allowed_origin = allowed_origin
        self.setProtocolOptions(
            maxMessagePayloadSize=MAX_MESSAGE,
            maxFramePayloadSize=MAX_MESSAGE,
            # Time is the session's: it knows when somebody is late, and cuts the line in the end.
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
            autoPingInterval=0,
            failByDrop=False,  # but say why
            echoCloseCodeReason=True,
        )

    def buildProtocol(self, addr: IAddress | None) -> OperationsProtocol:
        return OperationsProtocol(self)
