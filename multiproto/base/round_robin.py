"""A queue in which each owner has its turn, however many items another has waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Callable, Deque, Generic, TypeVar

from attrs import Factory, define

T = TypeVar("T")


@define(eq=False, repr=False)
class RoundRobinQueue(Generic[T]):
    """Unbounded; whoever enqueues keeps the bounds."""

    # By owner, the one whose turn is next first; a plain dict would search past all that were removed before.
    _queues: OrderedDict[str, Deque[T]] = Factory(OrderedDict)
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def count_of(self, owner: str) -> int:
        """How many items of `owner` wait."""
        return len(self._queues.get(owner, ()))

    @property
    def greediest(self) -> str:
        """The owner that has most items waiting; raises `ValueError` where nothing waits."""
        return max(self._queues, key=self.count_of)

    def enqueue(self, item: T, owner: str, first: bool = False) -> None:
        """Add `item` behind the others of `owner`, or before them."""
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = deque()
        if first:
            queue.appendleft(item)
        else:
            queue.append(item)
        self._count += 1

    def dequeue(self) -> T | None:
        """The oldest item of the owner whose turn it is; `None` where nothing waits."""
        if not self._count:
            return None
        owner, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self._count -= 1
        if queue:
            self._queues.move_to_end(owner)  # behind all others
        else:
            del self._queues[owner]
        return item

    def move(self, owner: str, to: RoundRobinQueue[T]) -> None:
        """Move all items of `owner` behind those that it has in the queue `to`."""
        for item in self._queues.pop(owner, ()):
            self._count -= 1
            to.enqueue(item, owner)

    def pop_newest(self) -> T:
        """Remove the newest item of the owner that has most; raises `ValueError` where nothing waits."""
        owner = self.greediest
        item = self._queues[owner].pop()
        self._count -= 1
        if not self._queues[owner]:
            del self._queues[owner]
        return item

    def pop_while(self, condition: Callable[[T], bool]) -> list[T]:
        """Remove the oldest items of each owner, as long as `condition` holds for them."""
        removed: list[T] = []
        for owner, queue in list(self._queues.items()):
            while queue and condition(queue[0]):
                removed.append(queue.popleft())
            if not queue:
                del self._queues[owner]
        self._count -= len(removed)
        return removed
