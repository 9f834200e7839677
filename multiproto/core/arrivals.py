"""How often one address may come: connections of each wire, before anything is kept of them."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from .errors import RateLimited
from .hosts import network
from .rates import MOST_KEYS, Buckets, Rate


@define(eq=False, repr=False)
class Arrivals:
    """Of one wire, by network; without a rate, all may come."""

    _rate: Rate | None
    _clock: IReactorTime
    _most: int = MOST_KEYS
    _buckets: Buckets | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = Buckets(self._rate, self._most) if self._rate else None

    def wait(self, host: str) -> float:
        """Seconds until `host` may come; 0.0 if it may now, and then that counts."""
        return 0.0 if self._buckets is None else self._buckets.take(network(host), self._clock.seconds())


def too_many(wait: float) -> RateLimited:
    """What one is told who may come in `wait` seconds."""
    return RateLimited("Too many connections from this address", retry_after=wait)
