"""Checks that the log delivers: an event written by this instance must come back, or it is not ready.

docs/guarantees.md#g12-ready-means-delivering

Every few seconds this instance writes a canary event to the log and waits for
its own follower to dispatch it.  No client pattern covers its topic.  The same
event proves to the other instances that live topics reach them, see `broker.peers`.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Protocol

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.timestamps import format_timestamp
from ..core.errors import Refusal
from ..core.ports import Store
from ..core.protocol import Delivery
from ..core.pubsub.dispatcher import Dispatcher
from ..core.pubsub.namespaces import CANARIES
from ..core.transactions import Event, Unit

INTERVAL = 3.0  # seconds
FRESH_FOR = 10.0  # seconds after it was sent that a canary which came back counts
START_TIMEOUT = 2.0  # seconds that a start waits for the first canary
EVENT_TYPE = "canary"


class Announcer(Protocol):
    """Announces this instance to the others on another way than the log, as `broker.redis.RedisBroker` does."""

    def announce(self) -> Awaitable[object]:
        """Announce it; returns what the log is to say of that."""

    def on_announcement_logged(self, content: object) -> None:
        """The log has said `content` of another instance's announcement."""


@define(eq=False, repr=False)
class Canary(Service):
    _store: Store
    _dispatcher: Dispatcher
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    announcer: Announcer | None = None
    _pending_id: str | None = None  # of the last canary sent
    _sent_at: float = 0.0
    _last_returned_at: float | None = None  # when the last canary that came back was sent
    _first_returned: Deferred[None] | None = None
    _loop: LoopingCall | None = None

    _log = Logger()

    @property
    def is_fresh(self) -> bool:
        """Whether a canary sent in the last `FRESH_FOR` seconds has come back."""
        return (
            self._last_returned_at is not None and self._clock.seconds() - self._last_returned_at <= FRESH_FOR
        )

    def startService(self) -> Deferred[None]:
        """Fires once the first canary is back, or after `START_TIMEOUT` seconds."""
        super().startService()
        self._dispatcher.subscribe(CANARIES, self)
        self._first_returned = Deferred()
        self._loop = LoopingCall(self._send)
        self._loop.clock = self._clock
        self._loop.start(INTERVAL)
        return self._first_returned.addTimeout(START_TIMEOUT, self._clock).addErrback(self._start_timed_out)

    def stopService(self) -> None:
        super().stopService()
        self._dispatcher.unsubscribe(CANARIES, self)
        if self._loop is not None:
            self._loop.stop()

    def deliver(self, delivery: Delivery) -> bool:
        if delivery.id != self._pending_id:
            if self.announcer is not None:  # another instance's canary, or an older one of ours
                self.announcer.on_announcement_logged(delivery.content)
            return False
        self._last_returned_at = self._sent_at
        if self._first_returned is not None and not self._first_returned.called:
            self._first_returned.callback(None)
        return True

    def _send(self) -> None:
        """Send the next canary, without waiting for one that hangs."""
        self._pending_id, self._sent_at = self._new_id(), self._clock.seconds()
        sent = Deferred.fromCoroutine(self._commit(self._pending_id, format_timestamp(self._now())))
        sent.addErrback(self._send_refused)

    async def _commit(self, id: str, at: str) -> None:
        """Write it behind the announcement: who reads it here must have received that."""
        announced = await self.announcer.announce() if self.announcer is not None else None
        event = Event(id, EVENT_TYPE, (CANARIES,), announced, "", at, CANARIES)
        await self._store.commit(Unit((), (event,)))

    def _send_refused(self, failure: Failure) -> None:
        """The store reports it in its own metrics and log."""
        failure.trap(Refusal)

    def _start_timed_out(self, failure: Failure) -> None:
        self._log.error("the log does not give back what is written to it: not ready")
