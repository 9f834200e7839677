"""One peer's conversation with the server, whatever wire carries it.

Authentication, subscriptions, publishing, order, keepalive and flow control live here once.  An adapter
feeds commands to `receive`, carries replies out through its `Peer`, and reports the end.
"""

from __future__ import annotations

from typing import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..observe.traffic import Traffic
from .audience import Audience
from .errors import Conflict, Internal, Refusal, Unauthorized
from .hearing import Hearing
from .history import History, Pruned
from .inbox import Inbox
from .intake import Intake
from .limits import FAREWELLS, Limits
from .meter import Meter
from .outbox import Outbox
from .ports import Gate, Identity, Peer
from .publishing import Publisher
from .starting import start
from .submissions import Submissions
from .subscriptions import Subscriptions
from .vigil import Vigil
from .wire import (
    Authenticate,
    Authenticated,
    CaughtUp,
    Command,
    Delivery,
    Farewell,
    Leave,
    Ping,
    Pong,
    Publish,
    Refused,
    Reply,
    Subscribe,
    Subscribed,
    Unreadable,
    Unsubscribe,
    Unsubscribed,
    Why,
)


@define(eq=False, repr=False)
class Session(Hearing):
    """One instance lives exactly as long as one connection or stream."""

    _peer: Peer
    id: str
    _gate: Gate
    _audience: Audience
    _history: History
    _publisher: Publisher
    _clock: IReactorTime
    _limits: Limits
    _traffic: Traffic
    _new_id: Callable[[], str]
    _revoked: Callable[[Identity], bool]  # since the gate looked
    _on_gone: Callable[[Session], None]
    identity: Identity | None = None
    _host: str = ""  # the peer's address
    heard_at: float = field(init=False)  # by `_clock`, like all times here
    ended: Farewell | None = None  # said, or about to be
    gone: bool = False  # the connection itself is no more
    outbox: Outbox = field(init=False)  # the adapter registers it as its transport's producer
    _vigil: Vigil = field(init=False)
    _ended_at: float = 0.0
    _subscriptions: Subscriptions = field(init=False)
    _intake: Intake = field(init=False)
    _inbox: Inbox = field(init=False)
    meter: Meter = field(init=False)
    _submissions: Submissions = field(init=False)
    _obeying: bool = False
    _spent: float = 0.0  # seconds of the present slice, waiting included
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        limits = self._limits
        self._subscriptions = Subscriptions(
            self, self._audience, self._history, self._traffic, limits, self._new_id, self._publisher
        )
        self._intake = Intake(self._peer.pause, self._peer.resume, limits.bytes, self._clock)
        self._inbox = Inbox(self._intake, limits)
        self.meter = Meter(limits.commands, self._clock, lambda: self.end(Why.FLOODING))
        self._submissions = Submissions(self._publisher, self._traffic, self.id)
        self.outbox = Outbox(self._write, self._peer.size, limits.outbox, limits.outbox_bytes)
        self.heard_at = self._clock.seconds()
        self._vigil = Vigil(limits, self.heard_at, self.heard_at)

    # What the adapter calls.

    def receive(self, command: Command, size: int = 0) -> None:
        """Take one command of `size` bytes, or what a codec made of bytes that were none.

        They are answered one at a time, in order: SUBSCRIBE waits for the AUTH
        before it, even while a database looks up the user.
        """
        if self.ended:
            return
        self.heard()
        self._inbox.put(command, size)
        if not self._obeying:
            start(self._obey_all(), self._broken)
        self._inbox.bound()

    def heard(self, size: int = 0) -> None:
        """The peer gave a sign of life, of `size` bytes."""
        self.heard_at = self._clock.seconds()
        self._intake.took(size)

    def end(self, why: Why) -> None:
        """Stop taking part and say goodbye; the line closes in its own time."""
        if self.ended:
            return
        self.ended = Farewell(why, FAREWELLS[why], self._subscriptions.lowest())
        self._ended_at = self._clock.seconds()
        self._log.debug("session ended: {why}", why=why.value, connection=self.id)
        self._subscriptions.close_all()
        self._inbox.clear()
        self._intake.stop()
        self.outbox.clear()
        if not self.gone:
            self._peer.close(self.ended)

    def lost(self) -> None:
        """The connection is no more, whoever closed it."""
        if not self.gone:
            self.gone = True
            self.end(Why.LEFT)
            self._on_gone(self)

    # What the hub, the audience and its subscriptions call.

    def tick(self) -> None:
        """Ask a quiet peer, warn one whose token runs out, end a dead one, cut a stuck one."""
        now = self._clock.seconds()
        if self.ended:
            if now - self._ended_at >= self._limits.linger:
                self._peer.abort()
            return
        match self._vigil.due(now, self.heard_at, self.identity):
            case Why() as why:
                self.end(why)
            case reply:
                self.send(reply)

    # Commands.

    async def _obey_all(self) -> None:
        self._obeying = True
        try:
            while self._inbox and not self._expired():
                began = self._clock.seconds()
                command = self._inbox.take()  # may read on
                kind = type(command).__name__
                self._traffic.received(kind)
                if self._submissions.pending and kind != "Publish":
                    await self._audience.told()  # what was published before is answered before
                    if self._expired():
                        break
                self.send(await self._answered(command, self._obey(command)))
                self._traffic.took(kind, took := self._clock.seconds() - began)
                await self.meter.spend(took)
        finally:
            self._obeying = False

    async def _answered(self, command: Command, doing: Awaitable[Reply | None]) -> Reply | None:
        """What `doing` gives, or why not: a bug costs one command, never the session."""
        try:
            return await doing
        except Refusal as refusal:
            declined = refusal
        except Exception:
            self._log.failure("{command} broke", command=type(command).__name__, connection=self.id)
            declined = Internal()
        self._traffic.refused(declined.name)
        self.meter.refused(declined)
        return Refused(declined, type(command), command.ref)

    async def _obey(self, command: Command) -> Reply | None:
        self.meter.charge(command)
        match command:
            case Unreadable(refusal=refusal):
                raise refusal
            case Authenticate(token=token, ref=ref):
                identity = await self._identify(token)
                if self.ended:
                    return None
                self._traffic.auth("success", again=self.identity is not None)
                self.identity = identity
                return Authenticated(identity.user_id, self.id, ref)
            case Ping(ref=ref):
                return Pong(ref)
            case Pong():
                return None
            case Leave(why=why):
                await self._submissions.below(1)
                await self.outbox.emptied()
                self.end(why)
                return None
        if self.identity is None:
            raise Unauthorized("Authenticate first")
        await self._audience.clear()
        if self._expired():
            return None
        match command:
            case Subscribe():
                await self._subscribe(self.identity, command)
                return None
            case Unsubscribe(pattern=pattern, ref=ref):
                return Unsubscribed(pattern, self._subscriptions.close(pattern), ref)
            case Publish():
                await self._submissions.below(self._limits.outstanding)
                if not self._expired():
                    answer = self._answered(command, self._submissions.submit(self.identity, command))
                    self._submissions.add(answer, self.send, self._broken)
                return None
        raise AssertionError(command)

    async def _identify(self, token: str) -> Identity:
        """Who the token proves the peer to be; the same user may extend its stay."""
        try:
            identity = await self._gate.identify(token, self._host)
            if self._revoked(identity):
                raise Unauthorized("Token revoked", "revoked")
            if self.identity and identity.user_id != self.identity.user_id:
                raise Conflict("Already authenticated as another user")
        except Refusal as refusal:
            self._traffic.auth(refusal.reason)
            raise
        return identity

    async def _subscribe(self, who: Identity, command: Subscribe) -> None:
        subscribed = await self._subscriptions.open(who, command)
        self.send(subscribed)
        if subscribed.recovered:
            following = self._subscriptions.follow(subscribed.pattern)
            Deferred.fromCoroutine(following).addErrback(self._lagging, subscribed.pattern)

    def _lagging(self, failure: Failure, pattern: str) -> None:
        """The log can't be read any further: better to end than to leave a hole; the client resumes."""
        if isinstance(failure.value, Refusal):
            self.end(Why.SLOW if isinstance(failure.value, Pruned) else Why.BROKEN)
        else:
            self._broken(failure)

    def _expired(self) -> bool:
        """Whether this session is over; a token that ran out ends it here, not at the next tick."""
        if not self.ended and self.identity and self._clock.seconds() >= self.identity.until:
            self.end(Why.EXPIRED)
        return self.ended is not None

    def _broken(self, failure: Failure) -> None:
        self._log.failure("session broke", failure=failure, connection=self.id)
        self.end(Why.BROKEN)

    def send(self, reply: Reply | None) -> None:
        if not self.ended and reply is not None and not self.outbox.put(reply):
            self._traffic.slow()
            self.end(Why.SLOW)

    def _write(self, reply: Reply) -> None:
        if isinstance(reply, (Delivery, Subscribed, CaughtUp)):
            self._subscriptions.written(reply)
        size = self._peer.send(reply)
        if size:
            self._traffic.sent(type(reply).__name__, size)
