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
    """One at a time: what is to be done unless something else comes first.

    It is put off with each request.  So the reactor is asked once, and when its
    call comes too early, it is asked again for the rest.
    """

    _clock: IReactorTime
    _due: float = 0.0  # by the clock
    _otherwise: Callable[[], None] | None = None
    _call: IDelayedCall | None = None

    def set(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Have `otherwise` done after `seconds`, instead of what was to be done before."""
        self._due, self._otherwise = self._clock.seconds() + seconds, otherwise
        if self._call is None:
            self._call = self._clock.callLater(seconds, self._look)
        elif self._call.getTime() > self._due:
            self._call.reset(seconds)

    def awaits(self, otherwise: Callable[[], None]) -> bool:
        """Whether that is what is to be done."""
        return self._otherwise == otherwise

    def clear(self) -> None:
        self._otherwise = None

    def stop(self) -> None:
        """There will be no other."""
        self._otherwise = None
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _look(self) -> None:
        self._call, otherwise = None, self._otherwise
        if otherwise is None:
            return
        left = self._due - self._clock.seconds()
        if left > 0:
            self._call = self._clock.callLater(left, self._look)
        else:
            self._otherwise = None
            otherwise()
