"""What a subscription draws from: a feed of the core, and what of each delivery it gives."""

from __future__ import annotations

from typing import Callable

from attrs import define

from .. import jsontext
from ..core.feed import Feed
from ..core.model import Public
from ..core.wire import Delivery, Ping

Shape = Callable[[Delivery], "Public | None"]  # `None`: this subscription does not tell of it

ENVELOPE = 300  # bytes around the content: topic, times, cursor and their names
CODEC = "graphql"


def weigh(delivery: Delivery) -> int:
    """About how many bytes a result of this delivery has; measured once for all who hear it."""
    if CODEC not in delivery.encoded:
        delivery.encoded[CODEC] = jsontext.dumps(delivery.content)
    return ENVELOPE + len(delivery.encoded[CODEC])


@define(eq=False, repr=False)
class Source:
    feed: Feed
    _shape: Shape

    def __aiter__(self) -> Source:
        """For graphql-core, which takes nothing else for a stream of events; it is `next` that is used."""
        return self

    async def next(self) -> tuple[Public, Delivery] | Ping | None:
        """The next thing told and how it came; `Ping` when all is quiet, `None` at the end."""
        while True:
            heard = await self.feed.next()
            if not isinstance(heard, Delivery):
                return heard
            told = self._shape(heard)
            if told is not None:
                return told, heard
