"""Every live session: admits, watches and, at shutdown, sees them out.

It also listens to the log itself: when an account is closed or a session
revoked, on whatever instance, all that live on it end here (guarantee G7).
"""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

from attrs import Factory, define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ..client_info import ClientInfo
from ..domain.failed_attempts import FailedAttempts
from ..errors import Refusal, Unavailable
from ..events import revoked_ids
from ..identity import Identity
from ..ports import Authenticator, Transport
from ..protocol import CloseReason, Delivery
from ..pubsub.dispatcher import Dispatcher
from ..pubsub.namespaces import REVOCATIONS
from ..pubsub.publisher import Publisher
from ..pubsub.replay import ReplayReader
from .admission import Admission
from .connection import Connection

TICK_INTERVAL = 1.0  # seconds between looks at the clock
REVOCATION_TTL = 60.0  # seconds that a revocation is kept for those whom the gate let through just before


@frozen
class _AdmittedConnection:
    host: str
    admission: Admission


@define(eq=False, repr=False)
class Hub(Service):
    _authenticator: Authenticator
    _dispatcher: Dispatcher
    _replay_reader: ReplayReader
    _publisher: Publisher
    _clock: IReactorTime
    _new_id: Callable[[], str]
    _failed_attempts: FailedAttempts | None = None  # where those are noted who are not let in
    _connections: dict[Connection, _AdmittedConnection] = Factory(dict)
    _revoked_at: dict[str, float] = Factory(dict)  # user or session id -> when
    _all_closed: Deferred[None] | None = None
    _ticker: LoopingCall = field(init=False)
    _closing: bool = False

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self._clock
        for topic in ("users", REVOCATIONS):
            self._dispatcher.subscribe(topic, self)
        self._dispatcher.revocation_listeners.append(self)

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def admit(
        self, peer: Transport, host: str, line: Admission, identity: Identity | None = None
    ) -> Connection:
        """Open a session for `peer`.  Raises `TooManyConnections`, or `Unavailable` while shutting down."""
        try:
            if self._closing:
                raise Unavailable("server is shutting down")
            line.check_capacity(host)
        except Refusal as refusal:
            line.stats.record_rejected()
            self._log.info(
                "{protocol}: turned {host} away: {why}",
                protocol=line.stats.protocol,
                host=host,
                why=refusal.message,
            )
            raise
        line.stats.record_connected(host)
        if identity is not None:
            line.stats.record_auth("success")
        gate = self._authenticator
        if self._failed_attempts is not None:
            gate = self._failed_attempts.recording(gate, ClientInfo(line.stats.protocol, host))
        session = Connection(
            peer,
            self._new_id(),
            gate,
            self._dispatcher,
            self._replay_reader,
            self._publisher,
            self._clock,
            line.limits,
            line.stats,
            self._new_id,
            self.is_revoked,
            self._on_connection_closed,
            identity,
            host,
        )
        self._connections[session] = _AdmittedConnection(host, line)
        return session

    async def wait_until_current(self) -> None:
        """For what an adapter does itself on a session's rights: returns while this instance sees the log.

        Raises `Unavailable`, like a command that the session obeys.
        """
        await self._dispatcher.wait_until_current()

    def is_revoked(self, who: Identity) -> bool:
        """Whether `who` was revoked so lately that the gate may not have known."""
        return who.session_id in self._revoked_at or who.user_id in self._revoked_at

    def deliver(self, delivery: Delivery) -> bool:
        """Core of G7: the log tells of a closed account or a revoked session."""
        content = delivery.content
        assert isinstance(content, dict)
        ids = revoked_ids(str(delivery.metadata["eventType"]), content)
        if ids:
            self._close_revoked(ids)
        return True

    def _close_revoked(self, ids: Sequence[str]) -> None:
        """All that live on these users or sessions end."""
        self._revoked_at |= dict.fromkeys(ids, self._clock.seconds())
        revoked = frozenset(ids)
        for session in self:
            who = session.identity
            if who is not None and (who.user_id in revoked or who.session_id in revoked):
                session.close(CloseReason.REVOKED)

    def startService(self) -> None:
        super().startService()
        self._ticker.start(TICK_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Bid every session farewell; fires when the last line is closed.

        A peer that does not take its farewell within `ConnectionLimits.close_timeout` is cut by
        the sweep, which goes on until all are gone.
        """
        super().stopService()
        self._closing = True
        if not self._connections:
            self._ticker.stop()
            return succeed(None)
        emptied: Deferred[None] = Deferred()
        self._all_closed = emptied  # streams end at once, and with them this
        for session in self:
            session.close(CloseReason.SHUTDOWN)
        return emptied

    def _tick(self) -> None:
        for session in self:
            session.tick()
        old = self._clock.seconds() - REVOCATION_TTL
        self._revoked_at = {id: at for id, at in self._revoked_at.items() if at > old}

    def _on_connection_closed(self, session: Connection) -> None:
        guest = self._connections.pop(session)
        guest.admission.stats.record_disconnected(guest.host, session.identity is not None)
        if self._all_closed and not self._connections:
            self._ticker.stop()
            emptied, self._all_closed = self._all_closed, None
            emptied.callback(None)
