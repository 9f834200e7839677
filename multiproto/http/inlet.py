"""The way into an HTTP connection: when its transport is read."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..core.connections.read_throttle import ReadThrottle
from ..core.ratelimit.token_bucket import Rate
from .outlet import ChannelOutput

PIPELINE_FULL = "ahead"  # the client has sent as much as may wait


@define(eq=False, repr=False)
class ChannelInput(ChannelOutput):
    _read_closed: bool = field(default=False, init=False)  # the client half-closed
    _read_throttle: ReadThrottle = field(init=False)

    def limit_read_rate(self, rate: Rate | None, clock: IReactorTime) -> None:
        """To be called once, before anything is read."""
        self._read_throttle = ReadThrottle(self._pause_reading, self._resume_reading, rate, clock)

    def _pause_reading(self) -> None:
        self._transport.pauseProducing()

    def _resume_reading(self) -> None:
        if not self._read_closed:  # its end is not to be heard twice
            self._transport.resumeProducing()
