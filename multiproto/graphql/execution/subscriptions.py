"""Subscriptions: from the deliveries of a stream of the core to the responses of an operation, pulled one by one."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from attrs import define, frozen

from ...base import strict_json
from ...core.connections.send_queue import BufferBudget
from ...core.connections.stream import SubscriptionStream
from ...core.model import JsonObject
from ...core.protocol import Delivery, Farewell, Ping

Payload = dict[str, Any]  # a response, JSON-ready: data, errors, extensions
EventMapper = Callable[[Delivery], JsonObject | None]  # `None`: not an event of this subscription

ENVELOPE_SIZE = 300  # bytes around the content: topic, times, cursor and their names
SIZE_KEY = "graphql"


def estimate_size(delivery: Delivery) -> int:
    """About how many bytes a response for `delivery` has; computed once for all subscribers."""
    if SIZE_KEY not in delivery.sizes:
        encoded = delivery.encoded_content
        size = len(strict_json.dumps(delivery.content) if encoded is None else encoded)
        delivery.sizes[SIZE_KEY] = ENVELOPE_SIZE + size
    return delivery.sizes[SIZE_KEY]


@frozen(eq=False)
class SubscriptionSource:
    """What the resolver of a subscription returns: a stream, and the event in each of its deliveries."""

    stream: SubscriptionStream
    map_event: EventMapper
    budget: BufferBudget | None  # shared by the subscriptions of a socket

    def __aiter__(self) -> SubscriptionSource:
        """For graphql-core, which accepts only an asynchronous iterator; it is `ResponseStream` that reads the stream."""
        return self


@define(eq=False, repr=False)
class ResponseStream:
    """The responses of one subscription, for one reader, who must `close` in the end."""

    _source: SubscriptionSource
    _execute: Callable[[JsonObject], Awaitable[Payload]]
    _is_first: bool = True
    _charged_bytes: int = 0  # of the last delivery: it counts until the reader asks for the next

    async def next(self) -> Payload | Ping | None:
        """The next response; `Ping` when there was none for a while, `None` at the end: see `farewell`."""
        self._charge(0)
        while True:
            item = await self._source.stream.next()
            if item is None or isinstance(item, Ping):
                return item
            event = self._source.map_event(item) if isinstance(item, Delivery) else None
            if event is not None and isinstance(item, Delivery):
                self._charge(estimate_size(item))
                return self._with_extensions(await self._execute(event), item.cursor)

    @property
    def farewell(self) -> Farewell | None:
        """Why it ended, once it has."""
        return self._source.stream.farewell

    def close(self) -> None:
        """Unsubscribe; nothing of the subscription is left."""
        self._charge(0)
        self._source.stream.unsubscribe()

    def _with_extensions(self, payload: Payload, cursor: str | None) -> Payload:
        extensions: Payload = {}
        if cursor is not None:
            extensions["cursor"] = cursor
        recovered = self._source.stream.subscribed.recovered
        if self._is_first and recovered is not None:
            extensions["recovered"] = recovered
        self._is_first = False
        return payload | {"extensions": extensions} if extensions else payload

    def _charge(self, size: int) -> None:
        if self._source.budget is not None:
            self._source.budget.used_bytes += size - self._charged_bytes
        self._charged_bytes = size
