"""A queue in which each owner has its turn, however many items another has waiting."""

from __future__ import annotations

from collections import deque
from typing import Deque, Generic, TypeVar

from attrs import Factory, define

T = TypeVar("T")


@define(eq=False, repr=False)
class RoundRobinQueue(Generic[T]):
    """Unbounded; whoever enqueues keeps the bounds."""

    _queues: dict[str, Deque[T]] = Factory(dict)  # by owner; the one whose turn is next comes first
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def count_of(self, owner: str) -> int:
        """How many items of `owner` wait."""
        return len(self._queues.get(owner, ()))

    def enqueue(self, item: T, owner: str) -> None:
        self._queues.setdefault(owner, deque()).append(item)
        self._count += 1

    def dequeue(self) -> T | None:
        """The oldest item of the owner whose turn it is; `None` where nothing waits."""
        if not self._count:
            return None
        owner = next(iter(self._queues))
        queue = self._queues.pop(owner)
        item = queue.popleft()
        self._count -= 1
        if queue:
            self._queues[owner] = queue  # behind all others
        return item

    def pop_newest(self) -> T:
        """Remove the newest item of the owner that has most; raises `ValueError` where nothing waits."""
        owner = max(self._queues, key=self.count_of)
        item = self._queues[owner].pop()
        self._count -= 1
        if not self._queues[owner]:
            del self._queues[owner]
        return item
