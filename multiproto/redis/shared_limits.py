"""Rate limits that all instances share through Redis: fixed windows and token buckets."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from ..core.ratelimit.token_bucket import Rate
from .address import RedisAddress
from .client import CALL_TIMEOUT, RedisClient, RedisScript

# Counts one; gives the count and the milliseconds that the window has left.  A key that has no expiry, which another
# program may have made, gets one: else it would count for ever.
COUNT_SCRIPT = RedisScript(b"""
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
""")

# A token bucket, kept as the time when it is full again (GCRA), by Redis's own clock; a full bucket needs no key.
# Takes tokens a second, tokens in a full bucket, and tokens wanted; gives tokens granted, and the milliseconds until
# there is one.  A number wanted below 0 gives tokens back.
LEASE_SCRIPT = RedisScript(b"""
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local each = 1000 / tonumber(ARGV[1])
local most = tonumber(ARGV[2]) * each
local wanted = tonumber(ARGV[3])
local full = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or '') or 0, now), now + most)
local granted = math.max(math.min(math.floor((most - full + now) / each + 0.001), wanted), math.min(wanted, 0))
if granted == 0 then
  return {0, math.ceil(full - now + each - most)}
end
full = math.max(full + granted * each, now)
redis.call('SET', KEYS[1], string.format('%.3f', full), 'PX', math.ceil(full - now) + 1)
return {granted, 0}
""")

CountAndSeconds = tuple[int, float]  # count or tokens, seconds


@define(eq=False, repr=False)
class RedisSharedLimits(Service):
    """`core.ports.SharedLimitStore` on Redis, and fixed windows of `window` seconds.

    A window begins with the first request that is counted in it.
    """

    _address: RedisAddress
    _key_prefix: str
    window: float  # seconds
    _reactor: Any
    _call_timeout: float = CALL_TIMEOUT
    client: RedisClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.client = RedisClient(
            self._address,
            (COUNT_SCRIPT, LEASE_SCRIPT),
            f"{self._key_prefix}limits".encode(),
            self._reactor,
            self._call_timeout,
        )

    @property
    def connections(self) -> int:
        return self.client.connections

    def startService(self) -> None:
        super().startService()
        self.client.startService()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return self.client.stopService()

    def count(self, key: str) -> Deferred[CountAndSeconds]:
        """Count one more of `key`: the count in this window, and the seconds until it ends.

        Fails with `Unavailable` within the timeout, as all methods here; it may have been counted.
        """
        return self.client.execute(
            COUNT_SCRIPT.command(self._redis_key("rate", key), round(self.window * 1000)),
            _parse_count_and_seconds,
        )

    def lease(self, key: str, rate: Rate, tokens: int) -> Deferred[CountAndSeconds]:
        args = f"{rate.per_second:.9f}", f"{rate.burst:.9f}", tokens
        return self.client.execute(
            LEASE_SCRIPT.command(self._redis_key("bucket", key), *args), _parse_count_and_seconds
        )

    def _redis_key(self, kind: str, key: str) -> bytes:
        return f"{self._key_prefix}{kind}:{key}".encode()


def _parse_count_and_seconds(result: object) -> CountAndSeconds | None:
    match result:
        case [int(count), int(milliseconds)]:
            return count, milliseconds / 1000
    return None
