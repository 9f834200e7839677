"""The logged lane: reads the log in order and tells this instance's audience.

Woken by its own writer at once, and by the clock every `POLL` seconds, so that
a lost hint costs latency, never a message.  Nobody hears of a logged event by
any other road.
"""

from __future__ import annotations

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.audience import Audience
from ..core.errors import Refusal
from ..core.ports import Entry, Log

POLL = 0.5  # seconds
PAGE = 500  # entries a read


@define(eq=False, repr=False)
class Follower(Service):
    _source: Log
    _audience: Audience
    _clock: IReactorTime
    _hinted: bool = False
    _reading: Deferred[None] | None = None
    _poll: IDelayedCall | None = None

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires once the log's head is known: what comes behind it is told."""
        super().startService()
        return Deferred.fromCoroutine(self._begin())

    def stopService(self) -> Deferred[None] | None:
        """Fires once the last page being read was told."""
        super().stopService()
        if self._poll is not None:
            self._poll.cancel()
        return self._reading

    def wake(self) -> None:
        """There may be something new."""
        self._hinted = True
        if self.running and self._reading is None:
            self._reading = Deferred.fromCoroutine(self._catch_up()).addErrback(self._blind)
            self._reading.addBoth(self._rest)

    async def _begin(self) -> None:
        self._audience.stand_at(*await self._source.head())
        self._poll = self._clock.callLater(POLL, self._look)

    def _look(self) -> None:
        self._poll = self._clock.callLater(POLL, self._look)
        self.wake()

    async def _catch_up(self) -> None:
        while self._hinted:
            self._hinted = False
            entries: tuple[Entry, ...] = (
                (await self._source.after(self._audience.position, PAGE)) if self.running else ()
            )
            for entry in entries:
                self._audience.tell_entry(entry)
            self._hinted = self._hinted or len(entries) == PAGE

    def _blind(self, failure: Failure) -> None:
        """The log can't be read now; the next poll tries again."""
        failure.trap(Refusal)
        self._log.warn("the log can't be read: {why}", why=failure.getErrorMessage())

    def _rest(self, result: object) -> object:
        self._reading = None
        return result
