"""How many requests an address may make: fixed windows, counted here, and together with other instances.

This process counts first, before anything of a request is kept.  Where
instances share their counts, theirs is asked for in one round trip before the
request is obeyed; while it can't be had, this process's own holds.
"""

from __future__ import annotations

import math
from typing import Awaitable, Protocol

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..core.errors import RateLimited, Unavailable
from ..core.hosts import network

MOST_ADDRESSES = 100_000  # remembered; some 20 MB


@frozen
class Standing:
    """How one address stands after a request."""

    limit: int
    window: int  # seconds
    remaining: int
    reset: int  # seconds until the window ends
    exceeded: bool

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """draft-ietf-httpapi-ratelimit-headers-06, the names that clients of the predecessor read, as Twisted spells them."""
        shown = (
            (b"Ratelimit-Policy", b"%d;w=%d" % (self.limit, self.window)),
            (b"Ratelimit-Limit", b"%d" % self.limit),
            (b"Ratelimit-Remaining", b"%d" % self.remaining),
            (b"Ratelimit-Reset", b"%d" % self.reset),
        )
        return (*shown, (b"Retry-After", b"%d" % self.reset)) if self.exceeded else shown


class Counts(Protocol):
    """The windows that instances share."""

    def count(self, key: str) -> Awaitable[tuple[int, float]]:
        """One more of `key`: how many in its window, and seconds until that ends.  Raises `Unavailable`."""


@frozen
class Standings:
    """How a request from `host` stands by each of its limits."""

    host: str
    _by_limit: tuple[tuple[RateLimit, Standing], ...]
    tightest: Standing = field(init=False)  # by the limit that it comes nearest to

    @property
    def shared(self) -> bool:
        """Whether others count too."""
        return any(limit.shared is not None for limit, _ in self._by_limit)

    @tightest.default
    def _nearest(self) -> Standing:
        if len(self._by_limit) == 1:
            return self._by_limit[0][1]
        return min((one for _, one in self._by_limit), key=lambda one: (not one.exceeded, one.remaining))

    async def settled(self) -> Standings:
        """Once other instances were asked."""
        found = [(limit, await limit.settled(self.host, one)) for limit, one in self._by_limit]
        return Standings(self.host, tuple(found))


@define(eq=False, repr=False)
class _Window:
    ends: float  # by the clock
    count: int = 0


@define(eq=False, repr=False)
class RateLimit:
    """At most `most` requests in `window` seconds from each address."""

    most: int
    window: float  # seconds
    _clock: IReactorTime = field(kw_only=True)
    shared: Counts | None = field(default=None, kw_only=True)
    _name: str = field(default="", kw_only=True)  # of this limit among those that are shared
    _capacity: int = field(default=MOST_ADDRESSES, kw_only=True)
    _windows: dict[str, _Window] = Factory(dict)  # the one that ends first comes first

    def count(self, host: str) -> Standing:
        """One more request from `host`, an IP address."""
        now, key = self._clock.seconds(), network(host)
        window = self._windows.get(key)
        if window is None or window.ends <= now:
            self._windows.pop(key, None)
            self._make_room(now)
            window = self._windows[key] = _Window(now + self.window)
        window.count += 1
        return self._standing(window.count, window.ends - now)

    async def settled(self, host: str, standing: Standing) -> Standing:
        """What becomes of `standing`, which `count` has just given, once other instances are asked."""
        if self.shared is None or standing.exceeded:
            return standing
        try:
            count, left = await self.shared.count(f"{self._name}:{network(host)}")
        except Unavailable:
            return standing
        self._learn(network(host), count, left)
        return self._standing(count, left)

    async def check(self, host: str) -> None:
        """Count here and everywhere; raises `RateLimited` beyond the limit."""
        standing = await self.settled(host, self.count(host))
        if standing.exceeded:
            wait = float(standing.reset)
            raise RateLimited(f"Too many requests; try again in {standing.reset} s", retry_after=wait)

    def _standing(self, count: int, left: float) -> Standing:
        return Standing(
            self.most,
            math.ceil(self.window),
            max(0, self.most - count),
            math.ceil(left),
            count > self.most,
        )

    def _learn(self, key: str, count: int, left: float) -> None:
        """An address that is known to be beyond the limit is not asked about again."""
        window = self._windows.get(key)
        if window is not None and count > max(window.count, self.most):
            window.count, window.ends = count, self._clock.seconds() + left

    def _make_room(self, now: float) -> None:
        """Drop what has ended, and the oldest window when there is no room for another."""
        while self._windows:
            first = next(iter(self._windows))
            if self._windows[first].ends > now and len(self._windows) < self._capacity:
                return
            del self._windows[first]
