"""Replies that wait to be written to a slow peer: in order, and bounded in number and bytes."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from ...base.waiters import Waiters
from ..protocol import Reply


@define(eq=False, repr=False)
class BufferBudget:
    """The bytes that several buffers of one peer may hold together."""

    max_bytes: int  # bytes
    used_bytes: int = 0

    def has_room(self, size: int) -> bool:
        return self.used_bytes + size <= self.max_bytes


@implementer(IPushProducer)
@define(eq=False, repr=False)
class SendQueue:
    """Writes at once unless the transport has paused it, as it does every `IPushProducer`."""

    _write: Callable[[Reply], None]
    _size_of: Callable[[Reply], int]  # in bytes
    _max_replies: int
    _max_bytes: int
    budget: BufferBudget | None = None  # shared with other queues and streams
    _queue: list[Reply] = Factory(list)  # short: an empty deque has 760 bytes
    _sizes: list[int] = Factory(list)  # of the replies; a list of pairs costs the garbage collector more
    _bytes: int = 0
    _paused: bool = False
    _flush_waiters: Waiters[None] | None = None  # made for the first: most connections never have one

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
        """Whether the next reply would have to wait."""
        return self._paused or bool(self._queue)

    def flushed(self) -> Deferred[None]:
        """Fires once no reply waits."""
        if not self.is_blocked:
            return succeed(None)
        if self._flush_waiters is None:
            self._flush_waiters = Waiters()
        return self._flush_waiters.wait()

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
        """The transport is closed: nothing is written any more, and nothing of the connection is kept."""
        self.clear()
        self._write, self._size_of = _discard, _no_size

    def _add_queued(self, size: int) -> None:
        self._bytes += size
        if self.budget is not None:
            self.budget.used_bytes += size

    def _notify_if_flushed(self) -> None:
        if self._flush_waiters is not None and not self.is_blocked:
            self._flush_waiters.release(None)


def _discard(reply: Reply) -> None:
    pass


def _no_size(reply: Reply) -> int:
    return 0
