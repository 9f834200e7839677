"""Buckets that instances share, drawn from by the handful.

Asking for each token would make every publication wait for Redis.  So an
instance takes a tenth of a bucket at a time, ahead of need, and nobody ever
waits: what is spent while the next handful is on its way is taken off it.  All
instances together may overdraw by what they spend in one round trip.  Each
keeps a bucket of its own besides, which alone counts while Redis is away.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import Unavailable
from ..ports import SharedLimitStore
from .token_bucket import MAX_BUCKETS, Rate, TokenBuckets

BATCHES_PER_BURST = 10  # handfuls in a burst


@define(eq=False, repr=False)
class LeasedTokens:
    tokens: float = 0.0  # tokens; below 0, what the next handful is owed
    refilling: bool = False
    exhausted_until: float = 0.0  # by the clock: when the shared bucket will have some again


@define(eq=False, repr=False)
class SharedBuckets:
    """So much for each key, on all instances together where there is a Redis."""

    _name: str  # among those that are shared
    rate: Rate
    _clock: IReactorTime
    _shared: SharedLimitStore | None = None
    _max_buckets: int = MAX_BUCKETS
    _local: TokenBuckets = field(init=False)
    _leases: dict[str, LeasedTokens] = field(
        factory=dict, init=False
    )  # the one that was used last comes last

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._local = TokenBuckets(self.rate, self._max_buckets)

    def acquire(self, key: str) -> float:
        """0.0 if there was a token, which is taken; else the seconds until there will be."""
        now = self._clock.seconds()
        wait = self._local.acquire(key, now)
        if wait or self._shared is None:
            return wait
        lease = self._lease(key)
        if lease.tokens < 1 and now < lease.exhausted_until:
            return lease.exhausted_until - now
        lease.tokens -= 1
        if not lease.refilling and lease.tokens <= self._batch_size / 2:
            Deferred.fromCoroutine(self._refill(key, lease, self._shared)).addErrback(self._refill_failed)
        return 0.0

    @property
    def _batch_size(self) -> int:
        return max(1, int(self.rate.burst / BATCHES_PER_BURST))

    async def _refill(self, key: str, lease: LeasedTokens, shared: SharedLimitStore) -> None:
        lease.refilling = True
        wanted = int(min(self.rate.burst, self._batch_size - lease.tokens))
        try:
            granted, wait = await shared.lease(f"{self._name}:{key}", self.rate, wanted)
            lease.tokens += granted
            lease.exhausted_until = self._clock.seconds() + wait
        except Unavailable:
            lease.tokens = float(
                self._batch_size
            )  # as far as this instance's own bucket goes; then we ask again
        finally:
            lease.refilling = False

    def _lease(self, key: str) -> LeasedTokens:
        lease = self._leases.pop(key, None)
        if lease is None:
            lease = LeasedTokens()
            if len(self._leases) >= self._max_buckets:
                del self._leases[next(iter(self._leases))]
        self._leases[key] = lease
        return lease

    def _refill_failed(self, failure: Failure) -> None:
        self._log.failure("a lease broke", failure=failure)
