"""One thing that will be done later unless it is called off."""

from __future__ import annotations

from typing import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False, repr=False)
class Deadline:
    """At most one call is due at a time; `set` replaces the one before."""

    _clock: IReactorTime
    _call: IDelayedCall | None = field(default=None, init=False)

    def set(self, seconds: float, action: Callable[[], object]) -> None:
        """Call `action` in so many seconds."""
        self.cancel()
        self._call = self._clock.callLater(seconds, action)

    def cancel(self) -> None:
        """Forget the call; nothing happens if there is none, or if it was made."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
