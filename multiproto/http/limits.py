"""How much of a connection's patience and room one client may have."""

from __future__ import annotations

from typing import Callable

from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.rates import Rate


@frozen
class Limits:
    body: int = 2**20  # bytes
    ahead: int = 65_536  # bytes that a client may send while it waits for an answer
    head_within: float = 10.0  # seconds from its first byte
    body_within: float = 60.0  # seconds from the end of the head
    idle: float = 60.0  # seconds between requests, and for a client to take its answer
    linger: float = 2.0  # seconds to read and forget after the last answer (RFC 9112, 9.6)
    bytes: Rate | None = None  # of what is read


@define(eq=False, repr=False)
class Deadline:
    """One at a time: what is to be done unless something else comes first."""

    _clock: IReactorTime
    _call: IDelayedCall | None = None

    def set(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Have `otherwise` done after `seconds`, instead of what was to be done before."""
        self.clear()
        self._call = self._clock.callLater(seconds, otherwise)

    def clear(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
