"""What one session listens to: patterns, within its rights and its limit."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define

from ..observe.traffic import Traffic
from . import policy
from .audience import Audience
from .errors import Conflict, RateLimited
from .ports import Identity, Listener
from .topics import check_pattern
from .wire import Subscribe, Subscribed


@define(eq=False, repr=False)
class Subscriptions:
    _listener: Listener
    _audience: Audience
    _traffic: Traffic
    _most: int
    _new_id: Callable[[], str]
    _patterns: dict[str, None] = Factory(dict)

    def open(self, who: Identity, wanted: Subscribe) -> Subscribed:
        """Raises `Invalid`, `Forbidden`, `Conflict`, or `RateLimited` for one too many."""
        pattern = check_pattern(wanted.pattern)
        policy.check_subscribe(who, pattern)
        if pattern in self._patterns:
            raise Conflict(f"Already subscribed: {pattern}")
        if len(self._patterns) >= self._most:
            raise RateLimited(f"At most {self._most} subscriptions")
        self._audience.add(pattern, self._listener)
        self._patterns[pattern] = None
        self._traffic.subscribed()
        retention = policy.retention(pattern)
        if retention == "live":
            return Subscribed(pattern, self._new_id(), retention, ref=wanted.ref)
        cursor = self._audience.cursor
        # Nothing is replayed yet: only who has missed nothing is told "recovered".
        recovered = None if wanted.after is None else wanted.after == cursor
        return Subscribed(pattern, self._new_id(), retention, cursor, recovered, wanted.ref)

    def close(self, pattern: str) -> bool:
        """Whether there was anything to close."""
        if pattern not in self._patterns:
            return False
        del self._patterns[pattern]
        self._audience.remove(pattern, self._listener)
        self._traffic.unsubscribed()
        return True

    def close_all(self) -> None:
        for pattern in list(self._patterns):
            self.close(pattern)
