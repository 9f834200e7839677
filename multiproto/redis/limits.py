"""How often something was done, or may be, on all instances together: windows, buckets and marks."""

from __future__ import annotations

from math import ceil
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from ..core.rates import Rate
from .address import Address
from .questions import PATIENCE, Questions, Script

# Gives the count and the milliseconds that the window has left.  A key without an expiry is not ours alone:
# it would count for ever.
COUNT = Script(b"""
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
""")

# A bucket, kept as the moment when it is full again (GCRA), by Redis's own clock; a bucket that is full needs no key.
# Takes tokens a second, tokens in a full bucket, and tokens wanted; gives tokens granted, and the milliseconds until
# there is one.  Below 0, tokens are given back.
LEASE = Script(b"""
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

Counted = tuple[int, float]  # how many, seconds


@define(eq=False, repr=False)
class SharedCounts(Service):
    """Fixed windows of `window` seconds, each of which begins with the first that is counted in it; and
    `core.ports.SharedRates`."""

    _address: Address
    _prefix: str  # of keys
    window: float  # seconds
    _reactor: Any
    _patience: float = PATIENCE
    questions: Questions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.questions = Questions(self._address, (COUNT, LEASE), self._reactor, self._patience)

    @property
    def connections(self) -> int:
        return self.questions.connections

    def startService(self) -> None:
        super().startService()
        self.questions.startService()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return self.questions.stopService()

    def count(self, key: str) -> Deferred[Counted]:
        """One more of `key`: how many in this window, seconds until it ends.

        Fails with `Unavailable` within the patience, like all here; it may have been counted.
        """
        return self.questions.ask(COUNT.command(self._key("rate", key), round(self.window * 1000)), _pair)

    def lease(self, key: str, rate: Rate, tokens: int) -> Deferred[Counted]:
        args = f"{rate.each:.9f}", f"{rate.burst:.9f}", tokens
        return self.questions.ask(LEASE.command(self._key("bucket", key), *args), _pair)

    def mark(self, key: str, seconds: float) -> Deferred[None]:
        command = "SET", self._key("mark", key), 1, "PX", ceil(seconds * 1000)
        return self.questions.ask(command, lambda result: True).addCallback(lambda _: None)

    def has_mark(self, key: str) -> Deferred[bool]:
        return self.questions.ask(("EXISTS", self._key("mark", key)), lambda count: bool(count))

    def _key(self, kind: str, key: str) -> bytes:
        return f"{self._prefix}{kind}:{key}".encode()


def _pair(result: object) -> Counted | None:
    match result:
        case [int(count), int(milliseconds)]:
            return count, milliseconds / 1000
    return None
