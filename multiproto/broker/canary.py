"""Ready means delivering (guarantee G12): what is written comes back through the log, or we are not ready.

Every few seconds this instance writes an event of its own to the log and waits
for its own follower to tell it.  No client pattern covers its topic.
"""

from __future__ import annotations

from typing import Callable

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.audience import Audience
from ..core.errors import Refusal
from ..core.namespaces import CANARIES
from ..core.ports import Event, Store, Unit
from ..core.wire import Delivery
from ..observe.moments import timestamp

EVERY = 3.0  # seconds
FRESH = 10.0  # seconds that one counts for
START_WITHIN = 2.0  # seconds that a start waits for the first one
TYPE = "canary"


@define(eq=False, repr=False)
class Canary(Service):
    _store: Store
    _audience: Audience
    _clock: IReactorTime
    _new_id: Callable[[], str]
    _id: str | None = None  # of the one that is on its way
    _sent_at: float = 0.0
    _passed_at: float | None = None  # when the last one that came back was sent
    _first: Deferred[None] | None = None
    _loop: LoopingCall | None = None

    _log = Logger()

    @property
    def fresh(self) -> bool:
        """Whether one that was sent in the last `FRESH` seconds has come back."""
        return self._passed_at is not None and self._clock.seconds() - self._passed_at <= FRESH

    def startService(self) -> Deferred[None]:
        """Fires once the first one is back, or after `START_WITHIN` seconds without that."""
        super().startService()
        self._audience.add(CANARIES, self)
        self._first = Deferred()
        self._loop = LoopingCall(self._send)
        self._loop.clock = self._clock
        self._loop.start(EVERY)
        return self._first.addTimeout(START_WITHIN, self._clock).addErrback(self._late)

    def stopService(self) -> None:
        super().stopService()
        self._audience.remove(CANARIES, self)
        if self._loop is not None:
            self._loop.stop()

    def hear(self, delivery: Delivery) -> bool:
        if delivery.id != self._id:
            return False  # another instance's
        self._passed_at = self._sent_at
        if self._first is not None and not self._first.called:
            self._first.callback(None)
        return True

    def _send(self) -> None:
        """Not waited for: one that hangs must not keep the next from being sent."""
        self._id, self._sent_at = self._new_id(), self._clock.seconds()
        event = Event(self._id, TYPE, (CANARIES,), None, "", timestamp(self._sent_at), CANARIES)
        sent = Deferred.fromCoroutine(self._commit(event))
        sent.addErrback(self._refused)

    async def _commit(self, event: Event) -> None:
        await self._store.commit(Unit((), (event,)))

    def _refused(self, failure: Failure) -> None:
        """The store says so in its own metrics and log."""
        failure.trap(Refusal)

    def _late(self, failure: Failure) -> None:
        self._log.error("the log does not give back what is written to it: not ready")
