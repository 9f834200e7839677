"""Keeps some lines to PostgreSQL up, and makes them anew when they are lost.

After a failed attempt the next comes in `FIRST_PAUSE` seconds, then in twice
as many, up to `LONGEST_PAUSE`: a database that is back is found within that.
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from .dial import Away, Dialer
from .line import Line

FIRST_PAUSE = 0.05  # seconds
LONGEST_PAUSE = 0.8


@define(eq=False, repr=False)
class Lines:
    _dialer: Dialer
    _clock: IReactorTime
    _least: int  # lines that are kept
    _most: int
    _on_up: Callable[[], object]  # a line more
    _on_away: Callable[[str], object]  # there is none, and none to be had
    up: list[Line] = field(factory=list, init=False)
    away: str | None = field(default=None, init=False)  # why there is none
    _wanted: int = field(default=0, init=False)
    _keeping: Deferred[None] | None = field(default=None, init=False)
    _pausing: Deferred[None] | None = field(default=None, init=False)

    _log = Logger()

    async def start(self) -> None:
        """Returns when one line is up.  Raises `Away`."""
        self.up.append(await self._dialer.dial(self._lost))
        self._wanted = self._least
        self._keep()

    async def stop(self) -> None:
        """Cut all."""
        self._wanted = 0
        if self._pausing is not None:
            self._pausing.cancel()
        if self._keeping is not None:
            await self._keeping
        while self.up:
            self.up[-1].cut()

    def grow(self) -> None:
        """One more would be of use."""
        if self._wanted == len(self.up) < self._most:
            self._wanted += 1
            self._keep()

    def shrink(self) -> None:
        """One would do less; an idle one goes."""
        idle = [line for line in self.up if not line]
        if idle and self._wanted == len(self.up) > self._least:
            self._wanted -= 1
            idle[0].cut()

    def check(self) -> None:
        """Cut those that owe an answer for too long."""
        for line in list(self.up):
            line.check()

    def _lost(self, line: Line) -> None:
        if line in self.up:
            self.up.remove(line)
            self._wanted = min(self._wanted, max(self._least, len(self.up)))
            self._keep()

    def _keep(self) -> None:
        if self._keeping is None and len(self.up) < self._wanted:
            keeping = self._keeping = Deferred.fromCoroutine(self._dial_all())
            keeping.addErrback(lambda failure: self._log.failure("can't keep connections", failure))
            keeping.addBoth(self._kept)

    def _kept(self, _: object) -> None:
        self._keeping = None

    async def _dial_all(self) -> None:
        pause = FIRST_PAUSE
        while len(self.up) < self._wanted:
            try:
                line = await self._dialer.dial(self._lost)
            except Away as away:
                await self._wait(pause, str(away))
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._take(line)

    def _take(self, line: Line) -> None:
        if not self._wanted:
            line.cut()
        elif not line.lost:
            self.up.append(line)
            if self.away is not None:
                self._log.info("the database is back")
                self.away = None
            self._on_up()

    async def _wait(self, pause: float, why: str) -> None:
        if not self.up:
            if self.away is None:
                self._log.error("the database is away: {why}", why=why)
            self.away = why
            self._on_away(why)
        if self._wanted:
            self._pausing = deferLater(self._clock, pause)
            await self._pausing.addErrback(lambda cancelled: None)
            self._pausing = None
