"""graphql-transport-ws: the connection, which is a session, and the operations it carries."""

from __future__ import annotations

from typing import Callable

from twisted.internet.interfaces import IAddress, IReactorTime

from .. import jsontext
from ..core.errors import Forbidden, Internal, RateLimited, Refusal, TooLarge, Unauthorized, Unavailable
from ..core.hub import Hub, Line
from ..core.model import timestamp
from ..core.outbox import Allowance
from ..core.session import Session
from ..core.wire import (
    Authenticate,
    Authenticated,
    Burst,
    Expiring,
    Farewell,
    Leave,
    Ping,
    Pong,
    Refused,
    Reply,
    Why,
)
from ..rfc6455.codec import frame
from ..rfc6455.factory import Rfc6455Factory
from ..rfc6455.protocol import Rfc6455Protocol
from . import codec
from .context import Caller, bearer
from .execute import Operations
from .faults import refused
from .negotiate import BadRequest
from .valve import Valve
from .workload import SHARED, Workload

MAX_MESSAGE = 2**20  # bytes
MAX_UNREAD = 8 * 2**20  # bytes that all subscriptions of a socket may hold for it

# Of handshakes; all others are a BAD_REQUEST.
REFUSALS: dict[int, type[Refusal]] = {403: Forbidden, 429: RateLimited, 431: TooLarge, 500: Internal}


class OperationsProtocol(Rfc6455Protocol):
    """See the module.  The session authenticates, keeps alive and ends; each subscription is a feed."""

    maxMessagePayloadSize = MAX_MESSAGE
    subprotocols = (codec.PROTOCOL,)

    factory: OperationsFactory
    session: Session | None = None

    def __init__(self, factory: OperationsFactory) -> None:
        super().__init__()
        self.factory = factory
        self._valve = Valve()
        self._allowance = Allowance(MAX_UNREAD)
        self._workload = Workload(
            factory.operations,
            factory.clock,
            self._valve,
            self._caller,
            self._write,
            lambda is_busy: (self.hold if is_busy else self.release)("busy"),
        )
        self._initialised = self._acknowledged = False

    # Autobahn calls these.

    def dataReceived(self, data: bytes) -> None:
        self.factory.line.traffic.read(len(data))
        if self.session is not None:
            self.session.heard(len(data))
        super().dataReceived(data)

    def onOpen(self) -> None:
        super().onOpen()
        if self.websocket_protocol_in_use is None:
            return self.turn_away(codec.NOT_ACCEPTABLE, f"Subprotocol not acceptable: use {codec.PROTOCOL}")
        try:
            self.session = self.factory.hub.admit(self, self.host, self.factory.line)
        except Refusal as refusal:
            code = codec.GOING_AWAY if isinstance(refusal, Unavailable) else codec.POLICY
            return self.turn_away(code, refusal.message)
        self.transport.registerProducer(self, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        assert self.session is not None
        if self.session.ended:
            return
        try:
            said = codec.decode(payload)
        except codec.Malformed as malformed:
            return self._hang_up(codec.BAD_REQUEST, str(malformed))
        match said:
            case codec.Init(authorization=authorization):
                self._initialise(self.session, authorization)
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

    # The base class calls these.

    def stopped(self, failed: bool) -> None:
        assert self.session is not None
        self.session.receive(Leave(Why.UNTRUSTED if failed else Why.LEFT))

    def refusal_body(self, code: int, reason: str) -> bytes:
        """As the endpoint declines requests over HTTP."""
        extensions = {"code": REFUSALS.get(code, BadRequest).name, "status": code}
        return jsontext.dumps({"errors": [{"message": reason, "extensions": extensions}]})

    # The transport calls these: IPushProducer.

    def pauseProducing(self) -> None:
        super().pauseProducing()
        self._valve.pauseProducing()
        self.hold("clogged")

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._valve.resumeProducing()
        if self._valve.is_open:  # and not clogged again by what waited
            self.release("clogged")

    # Messages.

    def _initialise(self, session: Session, authorization: str | None) -> None:
        if self._initialised:
            return self._hang_up(codec.INIT_TWICE, "Too many initialisation requests")
        self._initialised = True
        token, self.token = self.token, None
        try:
            token = bearer(authorization) if authorization else token
        except Unauthorized as refusal:
            return self._hang_up(codec.FORBIDDEN, refusal.message)
        if token is None:
            return self._acknowledge()
        session.receive(Authenticate(token), len(token))

    def _acknowledge(self) -> None:
        self._acknowledged = True
        self._write(codec.ACK)

    def _begin(self, session: Session, said: codec.Begin) -> None:
        if not self._acknowledged:
            return self._hang_up(codec.UNAUTHORIZED, "Unauthorized")
        if said.id in self._workload:
            return self._hang_up(codec.ID_TAKEN, f"Subscriber for {said.id} already exists")
        try:
            session.meter.charge()
        except RateLimited as refusal:
            self._write(codec.error(said.id, [refused(refusal)]))
            session.meter.refused(refusal)
        else:
            self._workload.begin(said.id, said.request)

    async def _caller(self) -> Caller:
        """Who asks; a token that ran out ends the session here, not at the hub's next look.

        Raises `Unavailable` where the rights of an identity could have ended unseen.
        """
        session = self.session
        assert session is not None
        if session.identity is not None:
            await self.factory.hub.clear()
        identity = session.identity
        if identity is not None and self.factory.clock.seconds() >= identity.until:
            session.end(Why.EXPIRED)
        return Caller(self.host, identity, connection=session.id, allowance=self._allowance)

    def _write(self, payload: bytes) -> None:
        self.say(frame(payload))

    def _hang_up(self, code: int, reason: str) -> None:
        assert self.session is not None
        self.last_word = code, reason
        self.session.end(Why.UNTRUSTED)

    # The session calls these: core.ports.Peer.

    def send(self, reply: Reply) -> int:
        match reply:
            case Authenticated():
                self._acknowledge()
            case Refused(refusal=refusal):
                code = codec.TRY_LATER if isinstance(refusal, Unavailable) else codec.FORBIDDEN
                self._hang_up(code, refusal.message)
            case Expiring(until=until):
                self._write(codec.expiring(timestamp(until)))
            case Ping():
                self._write(codec.PING)
            case Pong():
                self._write(codec.PONG)
        return self.size(reply)

    def send_all(self, burst: Burst) -> int:
        return 0

    def size(self, reply: Reply) -> int:
        return len(codec.ACK)

    def close(self, why: Farewell) -> None:
        if why.why in codec.CLOSE_CODES:
            self.last_word = codec.CLOSE_CODES[why.why], why.message
        if why.why in SHARED:
            self._workload.wind_up(self.say_goodbye)  # the hub waits so long, and no longer
        else:
            self._workload.stop()
            self.say_goodbye()

    def abort(self) -> None:
        self.transport.abortConnection()

    def pause(self) -> None:
        self.hold("session")

    def resume(self) -> None:
        self.release("session")


class OperationsFactory(Rfc6455Factory):
    """Builds the protocol for each connection."""

    def __init__(
        self,
        operations: Operations,
        hub: Hub,
        line: Line,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
        fast: bool = True,
    ) -> None:
        super().__init__(clock, allowed_origin, line.wait, fast)
        self.operations = operations
        self.hub = hub
        self.line = line

    def buildProtocol(self, addr: IAddress | None) -> OperationsProtocol:
        return OperationsProtocol(self)
