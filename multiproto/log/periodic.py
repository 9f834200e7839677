"""A service that does the same work every few seconds, and outlives a round that fails."""

from __future__ import annotations

from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import Refusal


class PeriodicService(Service):
    """Calls `run_round` every `interval` seconds, or when the round before it has ended, if that is later."""

    interval: ClassVar[float]
    failure_text: ClassVar[str]  # what is logged of a round that fails
    logs_refusals: ClassVar[bool] = True  # not where it says nothing new that the database is away

    _clock: IReactorTime
    _loop: LoopingCall | None = None
    _round: Deferred[None] | None = None  # the last that was begun

    _log = Logger()

    async def prepare(self) -> None:
        """What the start waits for; the first round begins `interval` seconds later."""

    async def run_round(self) -> None:
        """Must return soon once the service is not `running` any more."""
        raise NotImplementedError

    def startService(self) -> Deferred[None]:
        """Fires, or fails, as `prepare` does."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None] | None:
        """Fires when the present round has ended."""
        super().stopService()
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        return self._round

    async def _start(self) -> None:
        await self.prepare()
        if self.running:
            self._loop = LoopingCall(self._begin_round)
            self._loop.clock = self._clock
            self._loop.start(self.interval, now=False)

    def _begin_round(self) -> Deferred[None]:
        self._round = Deferred.fromCoroutine(self.run_round()).addErrback(self._round_failed)
        return self._round

    def _round_failed(self, failure: Failure) -> None:
        """Log why; a failure that went on would end the loop."""
        if not failure.check(Refusal):
            self._log.failure("{text}", failure, text=self.failure_text)
        elif self.logs_refusals:
            self._log.warn("{text}: {why}", text=self.failure_text, why=failure.getErrorMessage())
