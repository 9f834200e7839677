"""How often one address may come: connections of each wire, before anything is kept of them."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from .errors import RateLimited
from .hosts import client_network
from .rates import MAX_BUCKETS, Rate, TokenBuckets


@define(eq=False, repr=False)
class ConnectionRateLimiter:
    """Of one wire, by network; without a rate, all may come."""

    _rate: Rate | None
    _clock: IReactorTime
    _max_keys: int = MAX_BUCKETS
    _buckets: TokenBuckets | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._buckets = TokenBuckets(self._rate, self._max_keys) if self._rate else None

    def acquire(self, host: str) -> float:
        """Seconds until `host` may come; 0.0 if it may now, and then that counts."""
        return (
            0.0
            if self._buckets is None
            else self._buckets.acquire(client_network(host), self._clock.seconds())
        )


def too_many_connections(wait: float) -> RateLimited:
    """What one is told who may come in `acquire` seconds."""
    return RateLimited("Too many connections from this address", retry_after=wait)
