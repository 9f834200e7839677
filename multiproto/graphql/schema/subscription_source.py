"""What a subscription draws from: a feed of the core, and what of each delivery it gives."""

from __future__ import annotations

from typing import Callable

from attrs import define

from ...base import strict_json
from ...core.connections.send_queue import BufferBudget
from ...core.connections.stream import SubscriptionStream
from ...core.model import JsonObject
from ...core.protocol import Delivery, Ping

EventMapper = Callable[[Delivery], JsonObject | None]  # `None`: this subscription does not tell of it

ENVELOPE_SIZE = 300  # bytes around the content: topic, times, cursor and their names
SIZE_KEY = "graphql"


def estimate_size(delivery: Delivery) -> int:
    """About how many bytes a result of this delivery has; measured once for all who hear it."""
    if SIZE_KEY not in delivery.sizes:
        content = delivery.encoded_content
        size = len(strict_json.dumps(delivery.content) if content is None else content)
        delivery.sizes[SIZE_KEY] = ENVELOPE_SIZE + size
    return delivery.sizes[SIZE_KEY]


@define(eq=False, repr=False)
class SourceStream:
    subscription: SubscriptionStream
    _map_event: EventMapper
    _allowance: BufferBudget | None  # of the socket that carries it
    _charged: int = 0  # bytes of what was told last: it counts until the reader asks for more

    def __aiter__(self) -> SourceStream:
        """For graphql-core, which takes nothing else for a stream of events; it is `next` that is used."""
        return self

    async def next(self) -> tuple[JsonObject, Delivery] | Ping | None:
        """The next thing told and how it came; `Ping` when all is quiet, `None` at the end."""
        self._charge(0)
        while True:
            heard = await self.subscription.next()
            if heard is None or isinstance(heard, Ping):
                return heard
            told = self._map_event(heard) if isinstance(heard, Delivery) else None
            if told is not None and isinstance(heard, Delivery):
                self._charge(estimate_size(heard))
                return told, heard

    def close(self) -> None:
        """Nothing of it is left."""
        self._charge(0)
        self.subscription.unsubscribe()

    def _charge(self, size: int) -> None:
        if self._allowance is not None:
            self._allowance.used_bytes += size - self._charged
        self._charged = size
