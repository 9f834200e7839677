"""What waits to be written to a peer that reads more slowly than it is told: bounded, in order."""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .wire import Reply


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Outbox:
    """Writes at once while the transport takes it; the transport says so through `IPushProducer`."""

    _write: Callable[[Reply], None]
    _size: Callable[[Reply], int]  # in bytes
    _most: int  # replies
    _most_bytes: int
    _waiting: Deque[tuple[Reply, int]] = Factory(deque)
    _bytes: int = 0
    _clogged: bool = False
    _emptied: Deferred[None] | None = None

    def put(self, reply: Reply) -> bool:
        """Write `reply`, now or in its turn.  False when there is no room for it."""
        if not self._clogged and not self._waiting:
            self._write(reply)
            return True
        size = self._size(reply)
        if len(self._waiting) >= self._most or self._bytes + size > self._most_bytes:
            return False
        self._waiting.append((reply, size))
        self._bytes += size
        return True

    def emptied(self) -> Deferred[None]:
        """Fires once nothing waits.  One may wait for it at a time."""
        self._emptied = Deferred()
        emptied = self._emptied
        self._tell_if_empty()
        return emptied

    def clear(self) -> None:
        self._waiting.clear()
        self._bytes = 0
        self._tell_if_empty()

    def pauseProducing(self) -> None:
        self._clogged = True

    def resumeProducing(self) -> None:
        self._clogged = False
        while self._waiting and not self._clogged:
            reply, size = self._waiting.popleft()
            self._bytes -= size
            self._write(reply)
        self._tell_if_empty()

    def stopProducing(self) -> None:
        """The transport lost its connection; the adapter tells the session so itself."""
        self.clear()

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and not self._waiting:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)
