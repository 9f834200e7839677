"""How often something was done in a window of time, on all instances together.

One script counts, so that it is one round trip and nothing comes between the
count and its expiry.  Redis is asked on a connection of its own: behind what the
live lane has to say an answer could take longer than anyone waits for it.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from txredisapi import ResponseError

from ..core.errors import Unavailable
from .address import Address
from .connection import Commands, Connection

PATIENCE = 0.05  # seconds that a caller waits at most
MOST_UNDER_WAY = 1000  # questions that Redis has not answered

# Gives the count and the milliseconds that the window has left.  A key without an expiry is not ours alone:
# it would count for ever.
SCRIPT = b"""
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
"""
SHA = sha1(SCRIPT).hexdigest().encode()

Counted = tuple[int, float]  # how many in this window, seconds until it ends


@define(eq=False, repr=False)
class SharedCounts(Service):
    """Fixed windows of `window` seconds, each of which begins with the first that is counted in it."""

    _address: Address
    _prefix: str  # of keys
    window: float  # seconds
    _reactor: Any  # IReactorTime, IReactorPluggableNameResolver
    _patience: float = PATIENCE
    _under_way: int = field(default=0, init=False)
    _overdue: int = field(default=0, init=False)  # of them, those that nobody waits for any more
    _connection: Connection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = Connection(self._address, Commands, self._reactor, _teach)

    @property
    def connections(self) -> int:
        return int(self._connection.protocol is not None)

    def startService(self) -> None:
        """Waits for nothing: without Redis its callers count for themselves."""
        super().startService()
        self._connection.start()

    def stopService(self) -> Deferred[None] | None:
        """Fires when the connection is closed."""
        super().stopService()
        return self._connection.stop()

    def count(self, key: str) -> Deferred[Counted]:
        """One more of `key`.  Fails with `Unavailable` within the patience; it may have been counted.

        A Redis that owes an answer for longer than that is not asked until it
        has given it, or the connection has ended for want of it: when Redis is
        slow, the first few wait for it and not each.
        """
        protocol = self._connection.protocol
        if protocol is None or self._overdue or self._under_way >= MOST_UNDER_WAY:
            return _unavailable()
        question = _Question(self)
        question.ask(protocol, f"{self._prefix}rate:{key}".encode())
        return question.answer


@define(eq=False, repr=False)
class _Question:
    """From being asked to Redis's answer, which may come after ours."""

    _counts: SharedCounts
    answer: Deferred[Counted] = field(factory=Deferred)
    _late: IDelayedCall | None = None
    _protocol: Any = None
    _args: tuple[object, ...] = ()

    def ask(self, protocol: Any, key: bytes) -> None:
        counts = self._counts
        counts._under_way += 1
        self._late = counts._reactor.callLater(counts._patience, self._give_up)
        self._protocol, self._args = protocol, (1, key, round(counts.window * 1000))
        asked = protocol.execute_command("EVALSHA", SHA, *self._args)
        asked.addErrback(self._teach_again)
        asked.addBoth(self._answered)

    def _teach_again(self, failure: Failure) -> object:
        """A script can be forgotten while the connection stays: SCRIPT FLUSH."""
        failure.trap(ResponseError)
        if not failure.getErrorMessage().startswith("NOSCRIPT"):
            return failure
        return self._protocol.execute_command("EVAL", SCRIPT, *self._args)

    def _give_up(self) -> None:
        self._late = None
        self._counts._overdue += 1
        self.answer.errback(_away())

    def _answered(self, result: object) -> None:
        self._counts._under_way -= 1
        if self._late is None:
            self._counts._overdue -= 1
            return
        self._late.cancel()
        match result:
            case [int(count), int(left)]:
                self.answer.callback((count, left / 1000))
            case _:  # lost, or an error of Redis: no memory, a replica, a key that is no number
                self.answer.errback(_away())


async def _teach(protocol: Any) -> None:
    """So that counting takes one round trip from the first on."""
    await protocol.execute_command("SCRIPT", "LOAD", SCRIPT)


def _away() -> Unavailable:
    return Unavailable("The shared rate limits are away")


def _unavailable() -> Deferred[Counted]:
    failed: Deferred[Counted] = Deferred()
    failed.errback(_away())
    return failed
