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

from .errors import Unavailable
from .ports import SharedRates
from .rates import MOST_KEYS, Buckets, Rate

HANDFUL = 10  # handfuls in a burst


@define(eq=False, repr=False)
class Lease:
    held: float = 0.0  # tokens; below 0, what the next handful is owed
    asking: bool = False
    barred_until: float = 0.0  # by the clock: when the shared bucket will have some again


@define(eq=False, repr=False)
class Allotment:
    """So much for each key, on all instances together where there is a Redis."""

    _name: str  # among those that are shared
    rate: Rate
    _clock: IReactorTime
    _shared: SharedRates | None = None
    _most: int = MOST_KEYS
    _own: Buckets = field(init=False)
    _leases: dict[str, Lease] = field(factory=dict, init=False)  # the one that was used last comes last

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._own = Buckets(self.rate, self._most)

    def take(self, key: str) -> float:
        """0.0 if there was a token, which is taken; else the seconds until there will be."""
        now = self._clock.seconds()
        wait = self._own.take(key, now)
        if wait or self._shared is None:
            return wait
        lease = self._lease(key)
        if lease.held < 1 and now < lease.barred_until:
            return lease.barred_until - now
        lease.held -= 1
        if not lease.asking and lease.held <= self._handful / 2:
            Deferred.fromCoroutine(self._fill(key, lease, self._shared)).addErrback(self._broken)
        return 0.0

    @property
    def _handful(self) -> int:
        return max(1, int(self.rate.burst / HANDFUL))

    async def _fill(self, key: str, lease: Lease, shared: SharedRates) -> None:
        lease.asking = True
        wanted = int(min(self.rate.burst, self._handful - lease.held))
        try:
            granted, wait = await shared.lease(f"{self._name}:{key}", self.rate, wanted)
            lease.held += granted
            lease.barred_until = self._clock.seconds() + wait
        except Unavailable:
            lease.held = float(self._handful)  # as far as this instance's own bucket goes; then we ask again
        finally:
            lease.asking = False

    def _lease(self, key: str) -> Lease:
        lease = self._leases.pop(key, None)
        if lease is None:
            lease = Lease()
            if len(self._leases) >= self._most:
                del self._leases[next(iter(self._leases))]
        self._leases[key] = lease
        return lease

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a lease broke", failure=failure)
