"""All open connections: admits them, runs their timers and, at shutdown, closes them.

When the log tells that an account was closed or a session revoked, on whatever
instance, the connections that were authenticated by it are closed here
(docs/guarantees.md#g7-authority-is-current).
"""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

from attrs import Factory, define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from ...base.client_network import ClientNetwork, client_network
from ...base.deadline import Deadline
from ..errors import Refusal, Unavailable
from ..identity import Identity
from ..ports import Authenticator, Transport
from ..protocol import CloseReason
from ..pubsub.dispatcher import Dispatcher
from ..pubsub.publisher import Publisher
from ..pubsub.replay import ReplayReader
from ..turn_scheduler import TurnScheduler
from .admission import Admission
from .connection import Connection

TICK_INTERVAL = 1.0  # seconds between two checks of all timers
# Seconds from the farewells at shutdown until those that are left are cut off, whatever time they have
# otherwise: with what still has to stop then, the process ends within 5 s of its farewells.
SHUTDOWN_GRACE = 4.0


@frozen
class _AdmittedConnection:
    network: ClientNetwork
    admission: Admission


@define(eq=False, repr=False)
class Hub(Service):
    _authenticator: Authenticator
    _dispatcher: Dispatcher
    _replay_reader: ReplayReader
    _publisher: Publisher
    _clock: IReactorTime
    _new_id: Callable[[], str]
    turns: TurnScheduler
    _connections: dict[Connection, _AdmittedConnection] = Factory(dict)
    _all_closed: Deferred[None] | None = None
    _ticker: LoopingCall = field(init=False)
    _cutoff: Deadline = field(init=False)  # of what is left at shutdown
    _closing: bool = False

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self._clock
        self._cutoff = Deadline(self._clock)
        self._dispatcher.revocations.on_logged.append(self._close_revoked)
        self._dispatcher.on_log_replaced.append(self._close_all_of_replaced_log)

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def admit(
        self, transport: Transport, host: str, admission: Admission, identity: Identity | None = None
    ) -> Connection:
        """Open a connection on `transport`.  Raises `TooManyConnections`, or `Unavailable` while shutting down."""
        network = client_network(host)
        try:
            if self._closing:
                raise Unavailable("server is shutting down")
            admission.check_capacity(network)
        except Refusal as refusal:
            admission.stats.record_rejected()
            self._log.info(
                "{protocol}: turned {host} away: {why}",
                protocol=admission.stats.protocol,
                host=host,
                why=refusal.message,
            )
            raise
        admission.stats.record_connected(network)
        if identity is not None:
            admission.stats.record_auth("success")
        id = self._new_id()
        connection = Connection(
            transport,
            id,
            self._authenticator,
            self._dispatcher,
            self._replay_reader,
            self._publisher,
            self._clock,
            admission.limits,
            admission.stats,
            self._new_id,
            self._on_connection_closed,
            self.turns,
            self.turns.key(host, id),
            identity,
            host,
        )
        self._connections[connection] = _AdmittedConnection(network, admission)
        return connection

    async def wait_until_current(self) -> None:
        """Return once this instance is caught up with the log: before a wire acts on a connection's rights itself.

        Raises `Unavailable`, as the commands of a connection do.
        """
        await self._dispatcher.wait_until_current()

    def _close_revoked(self, ids: Sequence[str]) -> None:
        """Close all connections of these users and sessions."""
        revoked = frozenset(ids)
        for connection in self:
            identity = connection.identity
            if identity is not None and (identity.user_id in revoked or identity.session_id in revoked):
                connection.close(CloseReason.REVOKED)

    def _close_all_of_replaced_log(self) -> None:
        """Close every connection: its client resumes, and is told that it can't be said what it missed."""
        for connection in self:
            connection.close(CloseReason.LOG_REPLACED)

    def startService(self) -> None:
        super().startService()
        self._ticker.start(TICK_INTERVAL, now=False)

    def stopService(self) -> Deferred[None]:
        """Close every connection gracefully; fires when the last one is closed.

        A peer that has not closed within `SHUTDOWN_GRACE`, or within the time of its
        `GracefulClose`, is cut off; the timers run until all connections are closed.
        """
        super().stopService()
        self._closing = True
        if not self._connections:
            self._ticker.stop()
            return succeed(None)
        all_closed: Deferred[None] = Deferred()
        self._all_closed = all_closed  # set before the loop: streams close at once
        for connection in self:
            connection.close(CloseReason.SHUTDOWN)
        if self._connections:
            self._cutoff.set(SHUTDOWN_GRACE, self._cut_off)
        return all_closed

    def _cut_off(self) -> None:
        for connection in self:
            connection.abort()

    def _tick(self) -> None:
        for connection in self:
            connection.tick()
        self._dispatcher.revocations.forget_old(self._clock.seconds())

    def _on_connection_closed(self, connection: Connection) -> None:
        admitted = self._connections.pop(connection)
        admitted.admission.stats.record_disconnected(admitted.network, connection.identity is not None)
        if self._all_closed and not self._connections:
            self._ticker.stop()
            self._cutoff.cancel()
            all_closed, self._all_closed = self._all_closed, None
            all_closed.callback(None)
