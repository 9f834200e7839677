"""A bounded queue that is fair between its users: each has its turn, and only a share of the places."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import Factory, define

from ..base.round_robin import RoundRobinQueue
from ..core.errors import RateLimited, Unavailable

T = TypeVar("T")


@define(eq=False, repr=False)
class FairQueue(Generic[T]):
    _max_waiting: int
    _max_waiting_each: int  # on behalf of one user or address
    _waiting: RoundRobinQueue[T] = Factory(RoundRobinQueue)

    def __len__(self) -> int:
        return len(self._waiting)

    def check_capacity(self, on_behalf_of: str) -> None:
        """Raises `Unavailable` when all places are taken, `RateLimited` when all of `on_behalf_of` are."""
        if len(self._waiting) >= self._max_waiting:
            raise Unavailable("Too many logins at once; try again in a moment")
        if self._waiting.count_of(on_behalf_of) >= self._max_waiting_each:
            raise RateLimited("Too many logins at once; try again in a moment", retry_after=1.0)

    def enqueue(self, item: T, on_behalf_of: str) -> None:
        """Raises what `check_capacity` raises."""
        self.check_capacity(on_behalf_of)
        self._waiting.enqueue(item, on_behalf_of)

    def dequeue(self) -> T | None:
        """The oldest item of the user or address whose turn it is."""
        return self._waiting.dequeue()
