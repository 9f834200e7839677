"""A queue in which each owner has its turn, however many items another has waiting."""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import Callable, Deque, Generic, TypeVar

from attrs import Factory, define

T = TypeVar("T")


@define(eq=False, repr=False)
class RoundRobinQueue(Generic[T]):
    """Unbounded; whoever enqueues keeps the bounds."""

    # By owner, the one whose turn is next first; a plain dict would search past all that were removed before.
    _queues: OrderedDict[str, Deque[T]] = Factory(OrderedDict)
    _count: int = 0
    # A heap of owners by the negative number of their items, which for some has become smaller since.  `None` while
    # nobody asks who has most: most queues are never full.
    _by_count: list[tuple[int, str]] | None = None

    def __len__(self) -> int:
        return self._count

    def count_of(self, owner: str) -> int:
        """How many items of `owner` wait."""
        return len(self._queues.get(owner, ()))

    @property
    def greediest(self) -> str:
        """The owner that has most items waiting; raises `ValueError` where nothing waits.

        A full queue asks for each item that it refuses, so not all owners are gone through each time.
        """
        if self._by_count is None:
            self._by_count = [(-len(queue), owner) for owner, queue in self._queues.items()]
            heapify(self._by_count)
        while self._by_count:
            count, owner = self._by_count[0]
            current = -self.count_of(owner)
            if current == count:
                return owner
            if current:
                heapreplace(self._by_count, (current, owner))
            else:
                heappop(self._by_count)
        raise ValueError("nothing waits")

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
        if self._by_count is not None:
            self._note_count(owner, len(queue))

    def _note_count(self, owner: str, count: int) -> None:
        """Keep `_by_count`, or forget it when most of it is out of date, as it is where nobody asks any more."""
        assert self._by_count is not None
        if len(self._by_count) > 2 * self._count:
            self._by_count = None
        else:
            heappush(self._by_count, (-count, owner))

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
