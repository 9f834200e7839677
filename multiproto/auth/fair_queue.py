"""Who is next, where many wait for the same few threads: each in turn, and each with a share of the queue."""

from __future__ import annotations

from collections import deque
from typing import Deque, Generic, TypeVar

from attrs import Factory, define

from ..core.errors import RateLimited, Unavailable

T = TypeVar("T")


@define(eq=False, repr=False)
class FairQueue(Generic[T]):
    _max_waiting: int  # that wait
    _max_waiting_each: int  # of them, on behalf of one
    _queues: dict[str, Deque[T]] = Factory(dict)  # whose turn it is comes first
    _count: int = 0

    def __len__(self) -> int:
        return self._count

    def check_capacity(self, on_behalf_of: str) -> None:
        """Raises `Unavailable` when all places are taken, `RateLimited` when all of `on_behalf_of` are."""
        if self._count >= self._max_waiting:
            raise Unavailable("Too many logins at once; try again in a moment")
        if len(self._queues.get(on_behalf_of, ())) >= self._max_waiting_each:
            raise RateLimited("Too many logins at once; try again in a moment", retry_after=1.0)

    def enqueue(self, thing: T, on_behalf_of: str) -> None:
        """Raises what `check_capacity` raises."""
        self.check_capacity(on_behalf_of)
        self._queues.setdefault(on_behalf_of, deque()).append(thing)
        self._count += 1

    def dequeue(self) -> T | None:
        """The oldest of whoever's turn it is; then it is the next one's."""
        if not self._count:
            return None
        whose = next(iter(self._queues))
        waiting = self._queues.pop(whose)
        thing = waiting.popleft()
        self._count -= 1
        if waiting:
            self._queues[whose] = waiting
        return thing
