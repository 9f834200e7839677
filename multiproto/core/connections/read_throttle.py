"""Pauses the reading from a peer: while its commands or others' wait, or while it sends faster than its byte rate."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..ratelimit.token_bucket import Rate, TokenBucket

BYTE_RATE = "bytes"  # the throttle's own reason to pause


@define(eq=False, repr=False)
class ReadThrottle:
    """Pauses for the first of several reasons and resumes after the last."""

    _pause_reading: Callable[[], object]
    _resume_reading: Callable[[], object]
    _rate: Rate | None  # of bytes
    _clock: IReactorTime
    _pause_reasons: frozenset[str] = frozenset()
    _bucket: TokenBucket | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self._rate is not None:
            self._bucket = TokenBucket(self._rate, self._clock.seconds())

    def charge(self, size: int, now: float | None = None) -> None:
        """Count `size` bytes that came: above the rate, the reading pauses until the bucket is balanced again.

        `now` is the clock's time, where the caller has just read it.
        """
        if self._bucket is not None:
            wait = self._bucket.charge(self._clock.seconds() if now is None else now, size)
            if wait and self._timer is None:
                self._timer = self._clock.callLater(wait, self._on_timer)
                self.pause(BYTE_RATE)

    def pause(self, reason: str) -> None:
        is_first = not self._pause_reasons
        self._pause_reasons |= {reason}
        if is_first:
            self._pause_reading()

    def resume(self, reason: str) -> None:
        if reason in self._pause_reasons:
            self._pause_reasons -= {reason}
            if not self._pause_reasons:
                self._resume_reading()

    def stop(self) -> None:
        """The connection is closing: from now on the wire alone decides whether it reads."""
        self._pause_reasons = frozenset()
        self._bucket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        assert self._bucket is not None
        wait = self._bucket.charge(self._clock.seconds())
        self._timer = self._clock.callLater(wait, self._on_timer) if wait else None
        if not wait:
            self.resume(BYTE_RATE)
