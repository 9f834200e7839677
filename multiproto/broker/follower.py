"""The logged lane: reads the log in order and tells this instance's audience.

Woken by its own writer at once, by the hint of another instance's, and by the
clock every `POLL` seconds, so that a lost hint costs latency, never a message.
Nobody hears of a logged event by any other road.

It is also the instance's sight: when it has lost it and comes back, it looks
ahead for rights that ended meanwhile, before anybody hears of what came first.
"""

from __future__ import annotations

from typing import Sequence

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.audience import Audience
from ..core.errors import Refusal
from ..core.ports import Entry, Log
from ..core.sight import Sight

POLL = 0.25  # seconds; with the time of a read, well under what counts as blind
PAGE = 500  # entries a read
SLICE = 0.01  # seconds of telling, before the reactor has its turn
AGAIN = 0.5  # seconds between two looks ahead
ENDINGS = ("_sessions", "users")  # how topics begin that tell of rights that ended


@define(eq=False, repr=False)
class Follower(Service):
    _source: Log
    _audience: Audience
    _clock: IReactorTime
    _hinted: bool = False
    _reading: Deferred[None] | None = None
    _poll: IDelayedCall | None = None
    _away: bool = False  # the log could not be read, last
    _warned: tuple[float, int] = (0.0, 0)  # when was looked ahead, and up to which position

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
        began = self._clock.seconds()
        self._audience.stand_at(*await self._source.head())
        self._sight.seen(began)
        self._poll = self._clock.callLater(POLL, self._look)

    @property
    def _sight(self) -> Sight:
        if self._audience.sight is None:
            self._audience.sight = Sight(self._clock)
        return self._audience.sight

    def _look(self) -> None:
        self._poll = self._clock.callLater(POLL, self._look)
        self.wake()

    async def _catch_up(self) -> None:
        while self._hinted and self.running:
            self._hinted = False
            began = self._clock.seconds()
            if self._sight.blind:
                await self._look_ahead()
            entries = await self._source.after(self._audience.position, PAGE)
            await self._tell(entries)
            if len(entries) == PAGE:
                self._hinted = True
            else:
                self._sight.seen(began)
            self._away = False

    async def _tell(self, entries: Sequence[Entry]) -> None:
        """In slices: each may be for thousands, and others have their turn in between."""
        ends = self._clock.seconds() + SLICE
        for entry in entries:
            if self._clock.seconds() >= ends:
                await deferLater(self._clock, 0)
                if not self.running:
                    return
                ends = self._clock.seconds() + SLICE
            self._audience.tell_entry(entry)

    async def _look_ahead(self) -> None:
        """Rights that ended while we were blind end now, wherever in the backlog that is told."""
        now, (looked, warned) = self._clock.seconds(), self._warned
        low = max(self._audience.position, warned)
        head, _ = await self._source.head() if now - looked >= AGAIN else (low, "")
        for lead in ENDINGS:
            reached = low
            while reached < head:
                page = await self._source.page(lead, reached, head)
                for entry in page.entries:
                    self._audience.warn(entry)
                reached = page.upto
        if head > low:
            self._warned = now, head

    def _blind(self, failure: Failure) -> None:
        """The log can't be read now; the next poll tries again."""
        failure.trap(Refusal)
        if not self._away:
            self._log.warn("the log can't be read: {why}", why=failure.getErrorMessage())
        self._away = True

    def _rest(self, result: object) -> object:
        self._reading = None
        return result
