"""How much of a connection's patience and room one client may have."""

from __future__ import annotations

from typing import Callable

from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..core.ratelimit.token_bucket import Rate


@frozen
class HttpLimits:
    max_body_bytes: int = 2**20  # bytes
    max_pipelined_bytes: int = 65_536  # bytes that a client may send while it waits for an answer
    head_timeout: float = 10.0  # seconds from its first byte
    body_timeout: float = 60.0  # seconds from the end of the head
    idle_timeout: float = 60.0  # seconds between requests, and for a client to take its answer
    linger_timeout: float = 2.0  # seconds to read and forget after the last answer (RFC 9112, 9.6)
    read_rate: Rate | None = None  # of what is read


@define(eq=False, repr=False)
class RequestDeadline:
    """One at a time: what is to be done unless something else comes first.

    It is put off with each request.  So the reactor is asked once, and when its
    call comes too early, it is asked again for the rest.
    """

    _clock: IReactorTime
    _expires_at: float = 0.0  # by the clock
    _on_expired: Callable[[], None] | None = None
    _timer: IDelayedCall | None = None

    def set(self, seconds: float, otherwise: Callable[[], None]) -> None:
        """Have `otherwise` done after `seconds`, instead of what was to be done before."""
        self._expires_at, self._on_expired = self._clock.seconds() + seconds, otherwise
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._on_timer)
        elif self._timer.getTime() > self._expires_at:
            self._timer.reset(seconds)

    def is_set_for(self, otherwise: Callable[[], None]) -> bool:
        """Whether that is what is to be done."""
        return self._on_expired == otherwise

    def cancel(self) -> None:
        self._on_expired = None

    def stop(self) -> None:
        """There will be no other."""
        self._on_expired = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer, otherwise = None, self._on_expired
        if otherwise is None:
            return
        left = self._expires_at - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._on_timer)
        else:
            self._on_expired = None
            otherwise()
