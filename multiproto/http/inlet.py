"""The way into an HTTP connection: when its transport is read."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..core.intake import Intake
from ..core.rates import Rate
from .outlet import Outlet

AHEAD = "ahead"  # the client has sent as much as may wait


@define(eq=False, repr=False)
class Inlet(Outlet):
    _heard_all: bool = field(default=False, init=False)  # the client half-closed
    _intake: Intake = field(init=False)

    def read_no_faster_than(self, rate: Rate | None, clock: IReactorTime) -> None:
        """To be called once, before anything is read."""
        self._intake = Intake(self._pause, self._resume, rate, clock)

    def _pause(self) -> None:
        self._transport.pauseProducing()

    def _resume(self) -> None:
        if not self._heard_all:  # its end is not to be heard twice
            self._transport.resumeProducing()
