"""Token buckets in Redis that all instances share, from which each instance leases tokens in batches.

Asking for each token would make every publication wait for Redis.  So an
instance leases a tenth of a bucket at a time, ahead of need, and nobody ever
waits: tokens used while the next lease is on its way are deducted from it.  All
instances together may overdraw by what they use in one round trip.  Each has a
local bucket, too, which alone counts while Redis is away.
"""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...base.bounded_map import BoundedMap
from ..errors import Unavailable
from ..ports import SharedLimitStore
from .token_bucket import MAX_BUCKETS, Rate, TokenBuckets

BATCHES_PER_BURST = 10  # leases in a burst


@define(eq=False, repr=False)
class LeasedTokens:
    tokens: float = 0.0  # left to use; below 0, what the next lease must cover
    refilling: bool = False
    exhausted_until: float = 0.0  # by the clock: when the shared bucket will have some again


@define(eq=False, repr=False)
class SharedBuckets:
    """One bucket for each key, on all instances together where there is a Redis."""

    _name: str  # distinguishes it from other buckets in Redis
    rate: Rate
    _clock: IReactorTime
    _shared: SharedLimitStore | None = None
    _max_buckets: int = MAX_BUCKETS
    _local: TokenBuckets = field(init=False)
    _leases: BoundedMap[str, LeasedTokens] = field(init=False)

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._local = TokenBuckets(self.rate, self._max_buckets)
        self._leases = BoundedMap(self._max_buckets)

    def acquire(self, key: str) -> float:
        """Take one token: 0.0 if there was one, else the seconds until there will be."""
        now = self._clock.seconds()
        wait = self._local.acquire(key, now)
        if wait or self._shared is None:
            return wait
        lease = self._lease(key)
        if lease.tokens < 1 and now < lease.exhausted_until:
            return lease.exhausted_until - now
        lease.tokens -= 1
        self._refill_if_low(key, lease, self._shared)
        return 0.0

    def charge(self, key: str, tokens: float = 1.0) -> float:
        """Take `tokens` whether or not there are as many: the seconds until they are paid for.

        Each call that has to wait waits longer than the one before, so those who wait go on in their order.
        """
        now = self._clock.seconds()
        wait = self._local.charge(key, now, tokens)
        if self._shared is None:
            return wait
        lease = self._lease(key)
        lease.tokens -= tokens
        if lease.tokens < 0 and now < lease.exhausted_until:
            behind = max(0.0, -lease.tokens - 1) / self.rate.per_second
            return max(wait, lease.exhausted_until - now + behind)
        self._refill_if_low(key, lease, self._shared)
        return wait

    def _refill_if_low(self, key: str, lease: LeasedTokens, shared: SharedLimitStore) -> None:
        if not lease.refilling and lease.tokens <= self._batch_size / 2:
            Deferred.fromCoroutine(self._refill(key, lease, shared)).addErrback(self._refill_failed)

    @property
    def _batch_size(self) -> int:
        return max(1, int(self.rate.burst / BATCHES_PER_BURST))

    async def _refill(self, key: str, lease: LeasedTokens, shared: SharedLimitStore) -> None:
        lease.refilling = True
        wanted = int(min(self.rate.burst, self._batch_size - lease.tokens))
        try:
            granted, wait = await shared.lease(f"{self._name}:{key}", self.rate, wanted)
            lease.tokens += granted
            if lease.tokens < 0:  # fewer than were used meanwhile
                wait = max(wait, 1 / self.rate.per_second)
            lease.exhausted_until = self._clock.seconds() + wait
        except Unavailable:
            # Within this instance's own bucket; then Redis is asked again.
            lease.tokens = float(self._batch_size)
        finally:
            lease.refilling = False

    def _lease(self, key: str) -> LeasedTokens:
        lease = self._leases.get(key)
        if lease is None:
            lease = LeasedTokens()
            self._leases.put(key, lease)
        return lease

    def _refill_failed(self, failure: Failure) -> None:
        self._log.failure("a lease broke", failure=failure)
