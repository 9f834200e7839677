"""How often something may happen: token buckets, which fill continuously and are full to begin with.

Pure: whoever asks says what time it is.  `docs/decisions/018-limits.md` says why
they are our own.
"""

from __future__ import annotations

from attrs import Factory, define, field, frozen

MOST_KEYS = 50_000  # buckets of one kind that are remembered, each some 300 bytes: 15 MB
GRAIN = 0.001  # of a token: what a clock that counts the epoch's seconds may round away


@frozen
class Rate:
    each: float  # tokens a second
    burst: float  # tokens that a bucket holds

    def __str__(self) -> str:
        """As one would configure it."""
        unit, count = ("s", self.each) if self.each == round(self.each) else ("m", self.each * 60)
        return f"{count:.0f}/{unit} burst {self.burst:.0f}"


@define(eq=False, repr=False)
class Bucket:
    """Times are in seconds, of one clock."""

    _rate: Rate
    _at: float  # when it was last looked at
    level: float = field(init=False)  # tokens; below 0, somebody owes some

    def __attrs_post_init__(self) -> None:
        self.level = self._rate.burst

    def take(self, now: float, tokens: float = 1.0) -> float:
        """0.0 if they were there and are taken; else none is, and it says in how many seconds they will be there."""
        self._fill(now)
        if self.level + GRAIN < tokens:
            return (tokens - self.level) / self._rate.each
        self.level -= tokens
        return 0.0

    def owe(self, now: float, tokens: float = 0.0) -> float:
        """Take them although they may not be there; gives the seconds until nothing is owed."""
        self._fill(now)
        self.level -= tokens
        return -self.level / self._rate.each if self.level < -GRAIN else 0.0

    def put(self, now: float, tokens: float = 1.0) -> None:
        """Give back what was taken."""
        self._fill(now)
        self.level = min(self._rate.burst, self.level + tokens)

    def is_full(self, now: float) -> bool:
        self._fill(now)
        return self.level >= self._rate.burst

    def _fill(self, now: float) -> None:
        if now > self._at:  # a clock that was set back gives nothing, and takes nothing
            self.level = min(self._rate.burst, self.level + (now - self._at) * self._rate.each)
        self._at = now


@define(eq=False, repr=False)
class Buckets:
    """One for each key.  Of too many, the one that was asked for longest ago is forgotten, which makes it full."""

    rate: Rate
    _most: int = MOST_KEYS
    _by_key: dict[str, Bucket] = Factory(dict)  # the one that was used last comes last

    def __len__(self) -> int:
        return len(self._by_key)

    def take(self, key: str, now: float, tokens: float = 1.0) -> float:
        """As `Bucket.take`."""
        return self._of(key, now).take(now, tokens)

    def put(self, key: str, now: float, tokens: float = 1.0) -> None:
        self._of(key, now).put(now, tokens)

    def _of(self, key: str, now: float) -> Bucket:
        bucket = self._by_key.pop(key, None)
        if bucket is None:
            bucket = Bucket(self.rate, now)
            self._make_room(now)
        self._by_key[key] = bucket
        return bucket

    def _make_room(self, now: float) -> None:
        """One that is full tells nothing that a new one would not."""
        for _ in range(2):  # so that their number shrinks again
            oldest = next(iter(self._by_key), None)
            if oldest is None or len(self._by_key) < self._most and not self._by_key[oldest].is_full(now):
                return
            del self._by_key[oldest]
