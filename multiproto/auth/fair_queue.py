"""A bounded queue that is fair between its users: each has its turn, and only a share of the places."""

from __future__ import annotations

from collections import deque
from typing import Deque, Generic, TypeVar

from attrs import Factory, define

from ..core.errors import RateLimited, Unavailable

T = TypeVar("T")


@define(eq=False, repr=False)
class FairQueue(Generic[T]):
    _max_waiting: int
    _max_waiting_each: int  # on behalf of one user or address
    _queues: dict[str, Deque[T]] = Factory(dict)  # by user or address; the one whose turn is next comes first
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def check_capacity(self, on_behalf_of: str) -> None:
        """Raises `Unavailable` when all places are taken, `RateLimited` when all of `on_behalf_of` are."""
        if self._count >= self._max_waiting:
            raise Unavailable("Too many logins at once; try again in a moment")
        if len(self._queues.get(on_behalf_of, ())) >= self._max_waiting_each:
            raise RateLimited("Too many logins at once; try again in a moment", retry_after=1.0)

    def enqueue(self, item: T, on_behalf_of: str) -> None:
        """Raises what `check_capacity` raises."""
        self.check_capacity(on_behalf_of)
        self._queues.setdefault(on_behalf_of, deque()).append(item)
        self._count += 1

    def dequeue(self) -> T | None:
        """The oldest item of the user or address whose turn it is."""
        if not self._count:
            return None
        owner = next(iter(self._queues))
        queue = self._queues.pop(owner)
        item = queue.popleft()
        self._count -= 1
        if queue:
            self._queues[owner] = queue  # behind all others
        return item
