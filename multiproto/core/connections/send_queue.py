"""What waits to be written to a peer that reads more slowly than it is told: bounded, in order."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ..protocol import Reply


@define(eq=False, repr=False)
class BufferBudget:
    """What several outboxes may hold together, for one peer that reads them all."""

    max_bytes: int  # bytes
    used_bytes: int = 0

    def has_room(self, size: int) -> bool:
        return self.used_bytes + size <= self.max_bytes


@implementer(IPushProducer)
@define(eq=False, repr=False)
class SendQueue:
    """Writes at once while the transport takes it; the transport says so through `IPushProducer`."""

    _write: Callable[[Reply], None]
    _size_of: Callable[[Reply], int]  # in bytes
    _max_replies: int  # replies
    _max_bytes: int
    budget: BufferBudget | None = None  # shared with others
    _queue: list[Reply] = Factory(list)  # short: an empty deque has 760 bytes
    _sizes: list[int] = Factory(list)  # theirs; beside them, for pairs would be the collector's work
    _bytes: int = 0
    _paused: bool = False
    _flush_waiters: list[Deferred[None]] = Factory(list)  # who waits for that

    def enqueue(self, reply: Reply) -> bool:
        """Write `reply`, now or in its turn.  False when there is no room for it."""
        is_free = not self._paused and not self._queue
        if is_free and self.budget is None:
            self._write(reply)
            return True
        size = self._size_of(reply)
        if self.budget is not None and not self.budget.has_room(size):
            return False
        if is_free:
            self._write(reply)
            return True
        if len(self._queue) >= self._max_replies or self._bytes + size > self._max_bytes:
            return False
        self._queue.append(reply)
        self._sizes.append(size)
        self._add_queued(size)
        return True

    @property
    def is_blocked(self) -> bool:
        """Whether anything does."""
        return self._paused or bool(self._queue)

    def flushed(self) -> Deferred[None]:
        """Fires once nothing waits."""
        emptied: Deferred[None] = Deferred()
        self._flush_waiters.append(emptied)
        self._notify_if_flushed()
        return emptied

    def clear(self) -> None:
        """Nothing more will be written."""
        self._queue.clear()
        self._sizes.clear()
        self._add_queued(-self._bytes)
        self._paused = False
        self._notify_if_flushed()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._queue and not self._paused:
            self._add_queued(-self._sizes.pop(0))
            self._write(self._queue.pop(0))
        self._notify_if_flushed()

    def stopProducing(self) -> None:
        """The transport lost its connection; the adapter tells the session so itself."""
        self.clear()

    def _add_queued(self, size: int) -> None:
        self._bytes += size
        if self.budget is not None:
            self.budget.used_bytes += size

    def _notify_if_flushed(self) -> None:
        if self._flush_waiters and not self.is_blocked:
            emptied, self._flush_waiters = self._flush_waiters, []
            for each in emptied:
                each.callback(None)
