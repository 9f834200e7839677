"""The limits of an HTTP connection in bytes and seconds, and the timer for its deadlines."""

from __future__ import annotations

from typing import Callable

from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.ratelimit.token_bucket import Rate


@frozen
class HttpLimits:
    """The limits of one connection."""

    max_body_bytes: int = 2**20  # bytes
    max_pipelined_bytes: int = 65_536  # bytes that a client may send while it waits for a response
    head_timeout: float = 10.0  # seconds from its first byte
    body_timeout: float = 60.0  # seconds from the end of the head
    idle_timeout: float = 60.0  # seconds between requests, and for a client to read its response
    linger_timeout: float = 2.0  # seconds to read and discard after the last response (RFC 9112, 9.6)
    read_rate: Rate | None = None  # of received bytes


@define(eq=False, repr=False)
class RequestDeadline:
    """The current deadline of a connection, and the function to call when it passes.

    It moves with each request.  So the reactor's timer is left as it is when the
    deadline moves later; if it fires too early, it is set again for the rest.
    """

    _clock: IReactorTime
    _expires_at: float = 0.0  # by the clock
    _on_expired: Callable[[], None] | None = None
    _timer: IDelayedCall | None = None

    def set(self, seconds: float, on_expired: Callable[[], None]) -> None:
        """Call `on_expired` after `seconds`, instead of any function set before."""
        self._expires_at, self._on_expired = self._clock.seconds() + seconds, on_expired
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._on_timer)
        elif self._timer.getTime() > self._expires_at:
            self._timer.reset(seconds)

    def is_set_for(self, on_expired: Callable[[], None]) -> bool:
        """Whether `on_expired` is the function to be called."""
        return self._on_expired == on_expired

    def cancel(self) -> None:
        self._on_expired = None

    def stop(self) -> None:
        """Cancel the deadline and its timer; none is set afterwards."""
        self._on_expired = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer, on_expired = None, self._on_expired
        if on_expired is None:
            return
        left = self._expires_at - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._on_timer)
        else:
            self._on_expired = None
            on_expired()
