"""What one peer asks in a while: how many commands, how much of our time, and how often in vain."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..errors import RateLimited, Refusal
from ..protocol import Command, EndOfInput
from ..ratelimit.token_bucket import Rate, TokenBucket

TIME_SLICE = 0.01  # seconds of work for one peer before the others have their turn
MAX_REFUSED_BURSTS = 10  # bursts of commands that may be refused before the peer has to go


@define(eq=False, repr=False)
class CommandLimiter:
    _rate: Rate | None  # of commands
    _clock: IReactorTime
    _on_flooding: Callable[[], object]  # the peer goes on, however often it is told that it is too much
    _command_bucket: TokenBucket | None = field(default=None, init=False)
    _refusal_bucket: TokenBucket | None = field(
        default=None, init=False
    )  # made for the first: most peers never hear one
    _slice_used: float = field(default=0.0, init=False)  # seconds of the present slice, waiting included

    def __attrs_post_init__(self) -> None:
        if self._rate is not None:
            self._command_bucket = TokenBucket(self._rate, self._clock.seconds())

    def charge(self, command: Command | None = None) -> None:
        """One command more, whatever becomes of it.  Raises `RateLimited`."""
        if self._command_bucket is None or isinstance(command, EndOfInput):
            return
        wait = self._command_bucket.acquire(self._clock.seconds())
        if wait:
            raise RateLimited("Too many commands", retry_after=wait)

    def charge_refusal(self, refusal: Refusal) -> None:
        """So a command was answered."""
        if self._rate is None or not isinstance(refusal, RateLimited):
            return
        now = self._clock.seconds()
        if self._refusal_bucket is None:
            # It fills slowly: who takes what we say for what it is seldom hears it.
            self._refusal_bucket = TokenBucket(
                Rate(self._rate.per_second / MAX_REFUSED_BURSTS, self._rate.burst * MAX_REFUSED_BURSTS), now
            )
        if self._refusal_bucket.acquire(now):
            self._on_flooding()

    async def charge_time(self, seconds: float) -> None:
        """So long took a command; thousands may come in one packet."""
        self._slice_used += seconds
        if self._slice_used >= TIME_SLICE:
            self._slice_used = 0.0
            await deferLater(self._clock, 0)
