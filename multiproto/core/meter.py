"""What one peer asks in a while: how many commands, how much of our time, and how often in vain."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from .errors import RateLimited, Refusal
from .rates import Bucket, Rate
from .wire import Command, Leave

SLICE = 0.01  # seconds of work for one peer before the others have their turn
PATIENCE = 10  # bursts of commands that may be refused before the peer has to go


@define(eq=False, repr=False)
class Meter:
    _rate: Rate | None  # of commands
    _clock: IReactorTime
    _flooded: Callable[[], object]  # the peer goes on, however often it is told that it is too much
    _commands: Bucket | None = field(default=None, init=False)
    _refusals: Bucket | None = field(
        default=None, init=False
    )  # made for the first: most peers never hear one
    _spent: float = field(default=0.0, init=False)  # seconds of the present slice, waiting included

    def __attrs_post_init__(self) -> None:
        if self._rate is not None:
            self._commands = Bucket(self._rate, self._clock.seconds())

    def charge(self, command: Command | None = None) -> None:
        """One command more, whatever becomes of it.  Raises `RateLimited`."""
        if self._commands is None or isinstance(command, Leave):
            return
        wait = self._commands.take(self._clock.seconds())
        if wait:
            raise RateLimited("Too many commands", retry_after=wait)

    def refused(self, refusal: Refusal) -> None:
        """So a command was answered."""
        if self._rate is None or not isinstance(refusal, RateLimited):
            return
        now = self._clock.seconds()
        if self._refusals is None:
            # It fills slowly: who takes what we say for what it is seldom hears it.
            self._refusals = Bucket(Rate(self._rate.each / PATIENCE, self._rate.burst * PATIENCE), now)
        if self._refusals.take(now):
            self._flooded()

    async def spend(self, seconds: float) -> None:
        """So long took a command; thousands may come in one packet."""
        self._spent += seconds
        if self._spent >= SLICE:
            self._spent = 0.0
            await deferLater(self._clock, 0)
