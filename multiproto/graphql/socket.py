"""graphql-transport-ws on Autobahn: the connection, which is a session, and the operations it carries."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque

from attrs import define
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import Internal, RateLimited, Refusal, Unauthorized, Unavailable
from ..core.hub import Hub, Line
from ..core.session import Session
from ..core.wire import Authenticate, Authenticated, Farewell, Ping, Pong, Refused, Reply, Why
from . import codec
from .context import Caller, bearer
from .execute import Operation, Operations, Request, Stream
from .faults import Declined, refused
from .negotiate import BadRequest
from .valve import Valve

MAX_MESSAGE = 2**20  # bytes
MAX_OPERATIONS = 100  # on one socket at a time, subscriptions included
BUSY = 8  # operations begun and not yet answered, from which on we stop reading

# Endings that the socket shares with its subscriptions, and says itself.
SHARED = (Why.SHUTDOWN, Why.EXPIRED, Why.REVOKED)


@define(eq=False, repr=False)
class Running:
    """One operation of a socket."""

    id: str
    request: Request
    stopped: bool = False  # nothing more is to be said of it
    stream: Stream | None = None

    def stop(self) -> None:
        self.stopped = True
        if self.stream is not None:
            self.stream.leave()


class OperationsProtocol(WebSocketServerProtocol):  # type: ignore[misc]
    """See the module.  The session authenticates, keeps alive and ends; each subscription is a feed."""

    factory: OperationsFactory
    session: Session | None = None

    _log = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._valve = Valve(lambda is_open: self._hold("clogged", not is_open))
        self._held: set[str] = set()  # reasons not to read
        self._operations: dict[str, Running] = {}  # by id
        self._waiting: Deque[Running] = deque()  # to begin, one in each turn of the reactor
        self._unanswered = 0
        self._initialised = self._acknowledged = False
        self._authorization: str | None = None  # of the handshake
        self._last_word: tuple[int, str] | None = None  # a close code of our own choice

    # Autobahn calls these.

    def onConnect(self, request: ConnectionRequest) -> str | None:
        origin = request.origin
        is_own = origin and origin.partition("://")[2].lower() == request.headers.get("host", "").lower()
        if origin and not is_own and not self.factory.allowed_origin(origin):
            raise ConnectionDeny(403, "Origin not allowed")
        self._authorization = request.headers.get("authorization")
        return codec.PROTOCOL if codec.PROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        if self.websocket_protocol_in_use is None:
            self.sendClose(codec.NOT_ACCEPTABLE, f"Subprotocol not acceptable: use {codec.PROTOCOL}")
            return
        try:
            self.session = self.factory.hub.admit(self, self.transport.getPeer().host, self.factory.line)
        except Refusal as refusal:
            code = codec.GOING_AWAY if isinstance(refusal, Unavailable) else codec.POLICY
            self.sendClose(code, refusal.message)
            return
        self.transport.unregisterProducer()  # the HTTP channel may still be there
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
                running = self._operations.pop(id, None)
                if running is not None:
                    running.stop()
            case codec.Ask():
                self.session.receive(Ping(), len(payload))
            case codec.Answer():
                self.session.receive(Pong(), len(payload))

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self._stop_all()
        self._valve.stopProducing()
        if self.session is not None:
            self.session.lost()

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
        self._write(codec.ACK)

    def _begin(self, session: Session, said: codec.Begin) -> None:
        if not self._acknowledged:
            return self._hang_up(codec.UNAUTHORIZED, "Unauthorized")
        if said.id in self._operations:
            return self._hang_up(codec.ID_TAKEN, f"Subscriber for {said.id} already exists")
        if isinstance(said.request, BadRequest):
            return self._write(codec.error(said.id, [refused(said.request)]))
        if len(self._operations) >= MAX_OPERATIONS:
            full = RateLimited(f"At most {MAX_OPERATIONS} operations at a time")
            return self._write(codec.error(said.id, [refused(full)]))
        running = self._operations[said.id] = Running(said.id, said.request)
        self._count(1)
        self._waiting.append(running)
        if len(self._waiting) == 1:
            self.factory.clock.callLater(0, self._begin_next)

    # Operations.

    def _begin_next(self) -> None:
        """One in a turn: checking a document may take a while, and others want to be served too."""
        running = self._waiting.popleft()
        if self._waiting:
            self.factory.clock.callLater(0, self._begin_next)
        Deferred.fromCoroutine(self._run(running)).addErrback(self._broken, running)

    async def _run(self, running: Running) -> None:
        try:
            if running.stopped:
                return
            operation = self.factory.operations.prepare(running.request)
            if operation.kind == "subscription":
                running.stream = await self.factory.operations.subscribe(operation, self._caller())
            else:
                await self._say_result(running, operation)
        except Declined as declined:
            self._finish(running, codec.error(running.id, declined.errors))
        finally:
            self._count(-1)
        if running.stream is not None:
            await self._follow(running, running.stream)

    async def _say_result(self, running: Running, operation: Operation) -> None:
        payload = await self.factory.operations.run(operation, self._caller())
        await self._valve.opened()
        if not running.stopped:
            self._write(codec.next_result(running.id, payload))
            self._finish(running, codec.complete(running.id))

    async def _follow(self, running: Running, stream: Stream) -> None:
        try:
            while not running.stopped and (payload := await stream.next()) is not None:
                await self._valve.opened()
                if not running.stopped and not isinstance(payload, Ping):
                    self._write(codec.next_result(running.id, payload))
            why = stream.farewell
            if why is not None and why.why not in SHARED:
                ended = Unavailable(why.message, {"cursor": why.cursor})
                self._finish(running, codec.error(running.id, [refused(ended)]))
        finally:
            stream.leave()

    def _caller(self) -> Caller:
        session = self.session
        assert session is not None
        identity = session.identity
        if identity is not None and self.factory.clock.seconds() >= identity.until:
            session.end(Why.EXPIRED)  # not at the hub's next look
        return Caller(self.transport.getPeer().host, identity, connection=session.id)

    def _finish(self, running: Running, last: bytes) -> None:
        """Say the last of an operation, unless the client has done with it; its id is free again."""
        if not running.stopped:
            running.stopped = True
            del self._operations[running.id]
            self._write(last)

    def _broken(self, failure: Failure, running: Running) -> None:
        self._log.failure("a GraphQL operation broke", failure=failure)
        self._finish(running, codec.error(running.id, [refused(Internal())]))

    def _stop_all(self) -> None:
        operations, self._operations = self._operations, {}
        for running in operations.values():
            running.stop()

    # The line.

    def _write(self, message: bytes) -> None:
        self.sendMessage(message)

    def _hang_up(self, code: int, reason: str) -> None:
        assert self.session is not None
        self._last_word = code, reason
        self.session.end(Why.UNTRUSTED)

    def _count(self, change: int) -> None:
        self._unanswered += change
        self._hold("busy", self._unanswered >= BUSY)

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
                self._write(codec.PING)
            case Pong():
                self._write(codec.PONG)
        return self.size(reply)

    def size(self, reply: Reply) -> int:
        return len(codec.ACK)

    def close(self, why: Farewell) -> None:
        self._stop_all()
        self.transport.unregisterProducer()
        self.sendClose(*(self._last_word or (codec.CLOSE_CODES[why.why], why.message)))
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
        )

    def buildProtocol(self, addr: IAddress | None) -> OperationsProtocol:
        protocol = OperationsProtocol()
        protocol.factory = self
        return protocol
