"""Reads on a few lines: many under way on each, the rest in one bounded queue.

Each is one transaction that can only read and sees one snapshot.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ...core.errors import Unavailable
from .dial import Dialer
from .line import Call, Line, Result
from .lines import Lines

PATIENCE = 1.75  # seconds that a read may wait for a line: refused within two
DEPTH = 16  # reads under way on one line; a slow one holds up those behind it
CROWDED = 4  # on every line: one more line would be of use
IDLE = 60.0  # seconds without that until a line is given up again


def settings(patience: float) -> tuple[bytes, ...]:
    """What makes a session fit for reads, each broken off after `patience` seconds."""
    return (
        b"SET default_transaction_isolation = 'repeatable read'",
        b"SET default_transaction_read_only = on",
        b"SET statement_timeout = %d" % (patience * 1000),
    )


@define(eq=False, repr=False)
class _Waiting:
    since: float  # the clock's seconds
    calls: Sequence[Call]
    answer: Deferred[list[Result]] = field(factory=Deferred)


@define(eq=False, repr=False)
class Reads:
    _dialer: Dialer
    _clock: IReactorTime
    _least: int  # lines
    _most: int
    _room: int  # reads that may wait; one more is refused
    _queue: Deque[_Waiting] = field(factory=deque, init=False)
    _lines: Lines = field(init=False)
    _crowded_at: float = field(default=0.0, init=False)

    @_lines.default
    def _make_lines(self) -> Lines:
        return Lines(self._dialer, self._clock, self._least, self._most, self._send, self._refuse_all)

    def __len__(self) -> int:
        """How many wait for a line."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._lines.up)

    async def start(self) -> None:
        """Raises `Away`."""
        await self._lines.start()

    async def stop(self) -> None:
        self._refuse_all("The database is closed")
        await self._lines.stop()

    async def ask(self, calls: Sequence[Call]) -> list[Result]:
        """Raises `Unavailable`, or what `Line.ask` does."""
        if self._lines.away is not None:
            raise Unavailable("The database is away")
        if len(self._queue) >= self._room:
            raise Unavailable("The database is overloaded")
        line = self._free()
        if line is not None:
            return await self._ask(line, calls)
        waiting = _Waiting(self._clock.seconds(), calls)
        self._queue.append(waiting)
        return await waiting.answer

    def check(self) -> None:
        """Time has gone by: cut lines that owe an answer, refuse who has waited too long."""
        now = self._clock.seconds()
        self._lines.check()
        while self._queue and now - self._queue[0].since >= PATIENCE:
            self._queue.popleft().answer.errback(Unavailable("The database is away or overloaded"))
        if now - self._crowded_at >= IDLE:
            self._crowded_at = now
            self._lines.shrink()

    def _free(self) -> Line | None:
        """The line with the least to do, if it may have more."""
        line = min(self._lines.up, key=len, default=None)
        if line is not None and len(line) >= CROWDED:
            self._crowded_at = self._clock.seconds()
            self._lines.grow()
        return line if line is not None and len(line) < DEPTH else None

    def _send(self) -> None:
        """Those that wait, as far as there is room."""
        while self._queue and (line := self._free()) is not None:
            waiting = self._queue.popleft()
            Deferred.fromCoroutine(self._ask(line, waiting.calls)).chainDeferred(waiting.answer)

    async def _ask(self, line: Line, calls: Sequence[Call]) -> list[Result]:
        try:
            return await line.ask(calls)
        finally:
            if self._queue:
                self._send()

    def _refuse_all(self, why: str) -> None:
        while self._queue:
            self._queue.popleft().answer.errback(Unavailable("The database is away"))
