"""What a subscription draws from: a feed of the core, and what of each delivery it gives."""

from __future__ import annotations

from typing import Callable

from attrs import define

from .. import jsontext
from ..core.feed import Feed
from ..core.model import Public
from ..core.outbox import Allowance
from ..core.wire import Delivery, Ping

Shape = Callable[[Delivery], "Public | None"]  # `None`: this subscription does not tell of it

ENVELOPE = 300  # bytes around the content: topic, times, cursor and their names
CODEC = "graphql"


def weigh(delivery: Delivery) -> int:
    """About how many bytes a result of this delivery has; measured once for all who hear it."""
    if CODEC not in delivery.sizes:
        delivery.sizes[CODEC] = ENVELOPE + len(jsontext.dumps(delivery.content))
    return delivery.sizes[CODEC]


@define(eq=False, repr=False)
class Source:
    feed: Feed
    _shape: Shape
    _allowance: Allowance | None  # of the socket that carries it
    _holds: int = 0  # bytes of what was told last: it counts until the reader asks for more

    def __aiter__(self) -> Source:
        """For graphql-core, which takes nothing else for a stream of events; it is `next` that is used."""
        return self

    async def next(self) -> tuple[Public, Delivery] | Ping | None:
        """The next thing told and how it came; `Ping` when all is quiet, `None` at the end."""
        self._hold(0)
        while True:
            heard = await self.feed.next()
            if heard is None or isinstance(heard, Ping):
                return heard
            told = self._shape(heard) if isinstance(heard, Delivery) else None
            if told is not None and isinstance(heard, Delivery):
                self._hold(weigh(heard))
                return told, heard

    def leave(self) -> None:
        """Nothing of it is left."""
        self._hold(0)
        self.feed.leave()

    def _hold(self, size: int) -> None:
        if self._allowance is not None:
            self._allowance.held += size - self._holds
        self._holds = size
