"""How many requests an address may make: fixed windows, counted in this process."""

from __future__ import annotations

import ipaddress
import math

from attrs import Factory, define, field, frozen
from twisted.internet.interfaces import IReactorTime

from ..core.errors import RateLimited

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
        """draft-ietf-httpapi-ratelimit-headers-06, the names that clients of the predecessor read."""
        shown = (
            (b"RateLimit-Policy", b"%d;w=%d" % (self.limit, self.window)),
            (b"RateLimit-Limit", b"%d" % self.limit),
            (b"RateLimit-Remaining", b"%d" % self.remaining),
            (b"RateLimit-Reset", b"%d" % self.reset),
        )
        return (*shown, (b"Retry-After", b"%d" % self.reset)) if self.exceeded else shown


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
        return Standing(
            self.most,
            math.ceil(self.window),
            max(0, self.most - window.count),
            math.ceil(window.ends - now),
            window.count > self.most,
        )

    def check(self, host: str) -> None:
        """Count as `count` does; raises `RateLimited` beyond the limit."""
        standing = self.count(host)
        if standing.exceeded:
            raise RateLimited(f"Too many requests; try again in {standing.reset} s")

    def _make_room(self, now: float) -> None:
        """Drop what has ended, and the oldest window when there is no room for another."""
        while self._windows:
            first = next(iter(self._windows))
            if self._windows[first].ends > now and len(self._windows) < self._capacity:
                return
            del self._windows[first]


def network(host: str) -> str:
    """Who counts as one address: for IPv6 a whole /64, since that is what one customer has."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # a UNIX socket has none
    if isinstance(address, ipaddress.IPv4Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((address, 64), strict=False))
