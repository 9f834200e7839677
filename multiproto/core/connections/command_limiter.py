"""Limits one peer's rate of commands, and how often it may exceed the rate."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..errors import RateLimited, Refusal
from ..protocol import Command, EndOfInput
from ..ratelimit.token_bucket import Rate, TokenBucket

MAX_REFUSED_BURSTS = 10  # bursts of commands that may be refused before the connection is closed


@define(eq=False, repr=False)
class CommandLimiter:
    _rate: Rate | None  # of commands
    _clock: IReactorTime
    _on_flooding: Callable[[], object]  # called when the peer exceeds the rate again and again
    _command_bucket: TokenBucket | None = field(default=None, init=False)
    # Made for the first refusal: most peers never get one.
    _refusal_bucket: TokenBucket | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self._rate is not None:
            self._command_bucket = TokenBucket(self._rate, self._clock.seconds())

    def charge(self, command: Command | None = None) -> None:
        """Count one command, even if it is refused for another reason.  Raises `RateLimited`."""
        if self._command_bucket is None or isinstance(command, EndOfInput):
            return
        wait = self._command_bucket.acquire(self._clock.seconds())
        if wait:
            raise RateLimited("Too many commands", retry_after=wait)

    def charge_refusal(self, refusal: Refusal) -> None:
        """Count a refusal for the rate; too many of them call `on_flooding`."""
        if self._rate is None or not isinstance(refusal, RateLimited):
            return
        now = self._clock.seconds()
        if self._refusal_bucket is None:
            # It fills slowly: a peer that waits as it is told seldom gets a refusal.
            self._refusal_bucket = TokenBucket(
                Rate(self._rate.per_second / MAX_REFUSED_BURSTS, self._rate.burst * MAX_REFUSED_BURSTS), now
            )
        if self._refusal_bucket.acquire(now):
            self._on_flooding()
