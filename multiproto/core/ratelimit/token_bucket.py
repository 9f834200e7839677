"""Token buckets, which limit how often something may happen: they fill continuously and are full at first.

Pure: the caller passes the time.  `docs/decisions/018-limits.md` says why they
are our own.
"""

from __future__ import annotations

from collections import OrderedDict

from attrs import Factory, define, field, frozen

MAX_BUCKETS = 50_000  # buckets of one kind that are kept, each some 300 bytes: 15 MB
ROUNDING_TOLERANCE = 0.001  # of a token: the rounding error of times in seconds since the epoch


@frozen
class Rate:
    per_second: float  # tokens a second
    burst: float  # tokens that a bucket holds

    def admits(self, other: Rate) -> bool:
        """Whether all that is within `other` is within this rate, too."""
        return self.per_second >= other.per_second and self.burst >= other.burst

    def __str__(self) -> str:
        """In the spelling of the configuration."""
        unit, count = (
            ("s", self.per_second)
            if self.per_second == round(self.per_second)
            else ("m", self.per_second * 60)
        )
        return f"{count:.0f}/{unit} burst {self.burst:.0f}"


@define(eq=False, repr=False)
class TokenBucket:
    """Times are in seconds, of one clock."""

    rate: Rate
    _refilled_at: float
    level: float = field(init=False)  # tokens; below 0 after a `charge` for more than there was

    def __attrs_post_init__(self) -> None:
        self.level = self.rate.burst

    def acquire(self, now: float, tokens: float = 1.0) -> float:
        """Take `tokens` if there are as many: 0.0 if so, else the seconds until there will be, with none taken."""
        self._refill(now)
        if self.level + ROUNDING_TOLERANCE < tokens:
            return (tokens - self.level) / self.rate.per_second
        self.level -= tokens
        return 0.0

    def charge(self, now: float, tokens: float = 0.0) -> float:
        """Take `tokens` whether or not there are as many; gives the seconds until the level is 0 again."""
        self._refill(now)
        self.level -= tokens
        return -self.level / self.rate.per_second if self.level < -ROUNDING_TOLERANCE else 0.0

    def refund(self, now: float, tokens: float = 1.0) -> None:
        """Give back tokens that were taken."""
        self._refill(now)
        self.level = min(self.rate.burst, self.level + tokens)

    def is_full(self, now: float) -> bool:
        self._refill(now)
        return self.level >= self.rate.burst

    def _refill(self, now: float) -> None:
        if now > self._refilled_at:  # a clock that was set back gives nothing, and takes nothing
            level = self.level + (now - self._refilled_at) * self.rate.per_second
            self.level = level if level < self.rate.burst else self.rate.burst  # `min` takes longer
        self._refilled_at = now


@define(eq=False, repr=False)
class TokenBuckets:
    """A bucket for each key.  Of too many, the one used longest ago is dropped, which makes it a full one."""

    rate: Rate
    _max_buckets: int = MAX_BUCKETS
    # No `BoundedMap`, which never shrinks: here full buckets make room for others before there are too many.
    _by_key: OrderedDict[str, TokenBucket] = Factory(OrderedDict)  # the one that was used last comes last

    def __len__(self) -> int:
        return len(self._by_key)

    def acquire(self, key: str, now: float, tokens: float = 1.0) -> float:
        """As `TokenBucket.acquire`."""
        return self._bucket(key, now).acquire(now, tokens)

    def charge(self, key: str, now: float, tokens: float = 1.0) -> float:
        """As `TokenBucket.charge`."""
        return self._bucket(key, now).charge(now, tokens)

    def refund(self, key: str, now: float, tokens: float = 1.0) -> None:
        self._bucket(key, now).refund(now, tokens)

    def _bucket(self, key: str, now: float) -> TokenBucket:
        bucket = self._by_key.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self.rate, now)
            self._evict(now)
        self._by_key[key] = bucket
        return bucket

    def _evict(self, now: float) -> None:
        """Drop the oldest buckets that are full, for a new one is the same, and the oldest of too many."""
        for _ in range(2):  # two for each new one, so that their number shrinks again
            oldest = next(iter(self._by_key), None)
            if (
                oldest is None
                or len(self._by_key) < self._max_buckets
                and not self._by_key[oldest].is_full(now)
            ):
                return
            del self._by_key[oldest]
