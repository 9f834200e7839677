"""Several coroutines that wait for the same thing, released together."""

from __future__ import annotations

from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


@define(eq=False, repr=False)
class Waiters(Generic[T]):
    """A waiter that is cancelled, or times out, is forgotten; the others go on waiting."""

    _waiting: list[Deferred[T]] = field(factory=list, init=False)  # short: an empty deque has 760 bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self) -> Deferred[T]:
        """A Deferred that fires with the next `release` or `fail`."""
        waiter: Deferred[T] = Deferred(self._forget)
        self._waiting.append(waiter)
        return waiter

    def release(self, value: T) -> None:
        """Fire all that wait now, in the order of their waiting; one that waits again meanwhile is not released."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(value)

    def release_first(self, value: T) -> None:
        """Fire the one that has waited longest."""
        self._waiting.pop(0).callback(value)

    def fail(self, failure: Failure) -> None:
        """Fail all that wait now."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(failure)

    def _forget(self, waiter: Deferred[T]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
