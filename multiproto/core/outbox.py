"""What waits to be written to a peer that reads more slowly than it is told: bounded, in order."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .wire import Reply


@define(eq=False, repr=False)
class Allowance:
    """What several outboxes may hold together, for one peer that reads them all."""

    most: int  # bytes
    held: int = 0

    def has_room(self, size: int) -> bool:
        return self.held + size <= self.most


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Outbox:
    """Writes at once while the transport takes it; the transport says so through `IPushProducer`."""

    _write: Callable[[Reply], None]
    _size: Callable[[Reply], int]  # in bytes
    _most: int  # replies
    _most_bytes: int
    allowance: Allowance | None = None  # shared with others
    _waiting: list[Reply] = Factory(list)  # short: an empty deque has 760 bytes
    _sizes: list[int] = Factory(list)  # theirs; beside them, for pairs would be the collector's work
    _bytes: int = 0
    _clogged: bool = False
    _emptied: list[Deferred[None]] = Factory(list)  # who waits for that

    def put(self, reply: Reply) -> bool:
        """Write `reply`, now or in its turn.  False when there is no room for it."""
        is_free = not self._clogged and not self._waiting
        if is_free and self.allowance is None:
            self._write(reply)
            return True
        size = self._size(reply)
        if self.allowance is not None and not self.allowance.has_room(size):
            return False
        if is_free:
            self._write(reply)
            return True
        if len(self._waiting) >= self._most or self._bytes + size > self._most_bytes:
            return False
        self._waiting.append(reply)
        self._sizes.append(size)
        self._hold(size)
        return True

    @property
    def waits(self) -> bool:
        """Whether anything does."""
        return self._clogged or bool(self._waiting)

    def emptied(self) -> Deferred[None]:
        """Fires once nothing waits."""
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        self._tell_if_empty()
        return emptied

    def clear(self) -> None:
        """Nothing more will be written."""
        self._waiting.clear()
        self._sizes.clear()
        self._hold(-self._bytes)
        self._clogged = False
        self._tell_if_empty()

    def pauseProducing(self) -> None:
        self._clogged = True

    def resumeProducing(self) -> None:
        self._clogged = False
        while self._waiting and not self._clogged:
            self._hold(-self._sizes.pop(0))
            self._write(self._waiting.pop(0))
        self._tell_if_empty()

    def stopProducing(self) -> None:
        """The transport lost its connection; the adapter tells the session so itself."""
        self.clear()

    def _hold(self, size: int) -> None:
        self._bytes += size
        if self.allowance is not None:
            self.allowance.held += size

    def _tell_if_empty(self) -> None:
        if self._emptied and not self.waits:
            emptied, self._emptied = self._emptied, []
            for each in emptied:
                each.callback(None)
