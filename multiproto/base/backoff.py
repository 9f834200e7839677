"""How long to wait before the next attempt: longer after each failure, up to a limit, never in step with others."""

from __future__ import annotations

import random
from typing import Callable

from attrs import define, field


@define(eq=False, repr=False)
class Backoff:
    """Exponential back-off with jitter, in seconds.

    Each delay is drawn between half of a bound and the bound, which doubles
    from `initial` to `maximum`: instances that lost a server together don't
    come back together.
    """

    initial: float
    maximum: float
    _jitter: Callable[[], float] = random.random  # from 0 to 1
    _bound: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def next_delay(self) -> float:
        """Seconds to wait now; the next call gives about twice as many."""
        bound = self._bound
        self._bound = min(2 * bound, self.maximum)
        return bound * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        """An attempt succeeded: begin with `initial` again."""
        self._bound = self.initial
