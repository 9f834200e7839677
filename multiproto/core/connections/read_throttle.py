"""Pauses the reading from a peer: while its commands or others' wait, or while it sends faster than its rates."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..ratelimit.token_bucket import Rate, TokenBucket

RATE = "rate"  # the throttle's own reason to pause
TURN = "turn"  # others have to be served first
# Seconds without reading, at least: a peer that sends faster than its rate costs fifty timers a second, and not one for
# each command.
MIN_PAUSE = 0.02


@define(eq=False, repr=False)
class ReadThrottle:
    """Pauses for the first of several reasons and resumes after the last."""

    _pause_reading: Callable[[], object]
    _resume_reading: Callable[[], object]
    _byte_rate: Rate | None
    _clock: IReactorTime
    _command_rate: Rate | None = None
    _pause_reasons: frozenset[str] = frozenset()
    _byte_bucket: TokenBucket | None = field(default=None, init=False)
    _command_bucket: TokenBucket | None = field(default=None, init=False)
    _held_until: float = field(default=0.0, init=False)  # by the clock
    _timer: IDelayedCall | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        now = self._clock.seconds()
        if self._byte_rate is not None:
            self._byte_bucket = TokenBucket(self._byte_rate, now)
        if self._command_rate is not None:
            self._command_bucket = TokenBucket(self._command_rate, now)

    @property
    def is_paused(self) -> bool:
        return bool(self._pause_reasons)

    def hold(self, seconds: float) -> None:
        """Pause for so many seconds."""
        self._held_until = self._clock.seconds() + seconds
        self._pause_for_rate(seconds)

    def charge(self, size: int, now: float | None = None) -> None:
        """Count `size` bytes that came: above the rate, the reading pauses until the bucket is balanced again.

        `now` is the clock's time, where the caller has just read it.
        """
        if self._byte_bucket is not None:
            wait = self._byte_bucket.charge(self._clock.seconds() if now is None else now, size)
            if wait:
                self._pause_for_rate(wait)

    def charge_command(self) -> None:
        """Count a command that came; likewise."""
        bucket = self._command_bucket
        if bucket is not None and (wait := bucket.charge(self._clock.seconds(), 1)):
            # Not so long that the bucket is full before.
            self._pause_for_rate(max(wait, min(MIN_PAUSE, bucket.rate.burst / bucket.rate.per_second)))

    def pause(self, reason: str) -> None:
        if self._stopped and reason != TURN:
            return
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
        """The connection is closing: whatever it waits for, the peer's answer to the farewell is read, in its turn."""
        self._stopped = True
        self._pause_reasons = frozenset()
        self._byte_bucket = self._command_bucket = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def detach(self) -> None:
        """The connection is lost: there is nothing to pause any more, and nothing of it is kept."""
        self.stop()
        self._pause_reading = self._resume_reading = _do_nothing

    def _pause_for_rate(self, wait: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(wait, self._on_timer)
            self.pause(RATE)

    def _on_timer(self) -> None:
        now = self._clock.seconds()
        buckets = (self._byte_bucket, self._command_bucket)
        wait = max(
            self._held_until - now, *(0.0 if bucket is None else bucket.charge(now) for bucket in buckets)
        )
        self._timer = self._clock.callLater(wait, self._on_timer) if wait > 0 else None
        if self._timer is None:
            self.resume(RATE)


def _do_nothing() -> None:
    pass
