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

from ..observe.traffic import Traffic
from .arrivals import Arrivals, too_many
from .attempts import Attempts
from .audience import Audience
from .client import Client
from .errors import ConnectionLimit, Refusal, Unavailable
from .events import ended
from .history import History
from .limits import Limits
from .namespaces import REVOCATIONS
from .ports import Gate, Identity, Peer
from .publishing import Publisher
from .session import Session
from .wire import Delivery, Why

SWEEP = 1.0  # seconds between looks at the clock
REMEMBERED = 60.0  # seconds that a revocation is kept for those whom the gate let through just before


@frozen(eq=False)
class Line:
    """One wire's share of the hub: what its sessions may, how many they may be, what they did."""

    limits: Limits
    traffic: Traffic
    most: int | None = None  # sessions
    most_per_host: int | None = None  # sessions from one address
    arrivals: Arrivals | None = None  # of connections

    def wait(self, host: str) -> float:
        """Asked before a connection is looked at: seconds until `host` may come; 0.0 if it may."""
        wait = 0.0 if self.arrivals is None else self.arrivals.wait(host)
        if wait:
            self.traffic.rejected()
        return wait

    def knock(self, host: str) -> None:
        """The same; raises `RateLimited`."""
        wait = self.wait(host)
        if wait:
            raise too_many(wait)

    def check_room(self, host: str) -> None:
        """Raise `ConnectionLimit` when one more from `host` would be too many."""
        if self.most is not None and self.traffic.active >= self.most:
            raise ConnectionLimit(f"More than {self.most} connections")
        if self.most_per_host is not None and self.traffic.by_host.get(host, 0) >= self.most_per_host:
            raise ConnectionLimit(f"More than {self.most_per_host} connections from one address")


@frozen
class _Guest:
    host: str
    line: Line


@define(eq=False, repr=False)
class Hub(Service):
    _gate: Gate
    _audience: Audience
    _history: History
    _publisher: Publisher
    _clock: IReactorTime
    _new_id: Callable[[], str]
    _attempts: Attempts | None = None  # where those are noted who are not let in
    _guests: dict[Session, _Guest] = Factory(dict)
    _revoked: dict[str, float] = Factory(dict)  # user or session id -> when
    _emptied: Deferred[None] | None = None
    _sweep: LoopingCall = field(init=False)
    _closing: bool = False

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._sweep = LoopingCall(self._tick)
        self._sweep.clock = self._clock
        for topic in ("users", REVOCATIONS):
            self._audience.add(topic, self)
        self._audience.guards.append(self)

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._guests))

    def admit(self, peer: Peer, host: str, line: Line, identity: Identity | None = None) -> Session:
        """Open a session for `peer`.  Raises `ConnectionLimit`, or `Unavailable` while shutting down."""
        try:
            if self._closing:
                raise Unavailable("server is shutting down")
            line.check_room(host)
        except Refusal as refusal:
            line.traffic.rejected()
            self._log.info(
                "{protocol}: turned {host} away: {why}",
                protocol=line.traffic.protocol,
                host=host,
                why=refusal.message,
            )
            raise
        line.traffic.connected(host)
        if identity is not None:
            line.traffic.auth("success")
        gate = self._gate
        if self._attempts is not None:
            gate = self._attempts.watch(gate, Client(line.traffic.protocol, host))
        session = Session(
            peer,
            self._new_id(),
            gate,
            self._audience,
            self._history,
            self._publisher,
            self._clock,
            line.limits,
            line.traffic,
            self._new_id,
            self.has_revoked,
            self._forget,
            identity,
            host,
        )
        self._guests[session] = _Guest(host, line)
        return session

    async def clear(self) -> None:
        """For what an adapter does itself on a session's rights: returns while this instance sees the log.

        Raises `Unavailable`, like a command that the session obeys.
        """
        await self._audience.clear()

    def has_revoked(self, who: Identity) -> bool:
        """Whether `who` was revoked so lately that the gate may not have known."""
        return who.session_id in self._revoked or who.user_id in self._revoked

    def hear(self, delivery: Delivery) -> bool:
        """Core of G7: the log tells of a closed account or a revoked session."""
        content = delivery.content
        assert isinstance(content, dict)
        ids = ended(str(delivery.metadata["eventType"]), content)
        if ids:
            self._revoke(ids)
        return True

    def _revoke(self, ids: Sequence[str]) -> None:
        """All that live on these users or sessions end."""
        self._revoked |= dict.fromkeys(ids, self._clock.seconds())
        revoked = frozenset(ids)
        for session in self:
            who = session.identity
            if who is not None and (who.user_id in revoked or who.session_id in revoked):
                session.end(Why.REVOKED)

    def startService(self) -> None:
        super().startService()
        self._sweep.start(SWEEP, now=False)

    def stopService(self) -> Deferred[None]:
        """Bid every session farewell; fires when the last line is closed.

        A peer that does not take its farewell within `Limits.linger` is cut by
        the sweep, which goes on until all are gone.
        """
        super().stopService()
        self._closing = True
        if not self._guests:
            self._sweep.stop()
            return succeed(None)
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied  # streams end at once, and with them this
        for session in self:
            session.end(Why.SHUTDOWN)
        return emptied

    def _tick(self) -> None:
        for session in self:
            session.tick()
        old = self._clock.seconds() - REMEMBERED
        self._revoked = {id: at for id, at in self._revoked.items() if at > old}

    def _forget(self, session: Session) -> None:
        guest = self._guests.pop(session)
        guest.line.traffic.disconnected(guest.host, session.identity is not None)
        if self._emptied and not self._guests:
            self._sweep.stop()
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
