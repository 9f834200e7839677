"""A subscription whose deliveries are pulled one by one: for GraphQL subscriptions and server-sent events.

Such a stream is a `Connection` like any other; `SubscriptionStream` is its
`Transport`.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, ClassVar, Deque, Union

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, succeed

from ..errors import Unavailable
from ..identity import Identity
from ..protocol import (
    CaughtUp,
    Delivery,
    DeliveryBatch,
    ErrorReply,
    Farewell,
    Ping,
    Reply,
    Subscribe,
    Subscribed,
)
from .admission import Admission
from .connection import Connection
from .hub import Hub
from .send_queue import BufferBudget

MAX_BUFFERED = 65_536  # bytes buffered for the reader before the connection's send queue fills

# `CaughtUp`: the replay is complete; `Ping`: no delivery for a while; `None`: the end
StreamItem = Union[Delivery, CaughtUp, Ping, None]


@define(eq=False, repr=False)
class SubscriptionStream:
    """Deliveries of one pattern, in order, for one reader, who must `unsubscribe` in the end.

    It has a buffer of its own in front of the connection's send queue, because what was
    delivered before the connection closed is still for the reader, while the queue is cleared.
    """

    pauses_for_login: ClassVar = False  # it is authenticated from the start
    _encoded_size: Callable[[Delivery], int]  # bytes that this stream's wire writes
    # Of the connection that it is sent on, as `Transport.limit_unsent`.
    _limit_unsent: Callable[[bool], object] = lambda limited: None
    subscribed: Subscribed = field(init=False)
    farewell: Farewell | None = None  # why there will be no more
    _connection: Connection = field(init=False)
    _buffer: Deque[Delivery | CaughtUp] = Factory(deque)
    _buffered_bytes: int = 0
    _budget: BufferBudget | None = None  # shared with other streams
    _pending_next: Deferred[StreamItem] | None = None
    _when_subscribed: Deferred[Subscribed] = Factory(Deferred)

    @classmethod
    async def open(
        cls,
        hub: Hub,
        admission: Admission,
        host: str,
        identity: Identity,
        encoded_size: Callable[[Delivery], int],
        pattern: str,
        after: str | None = None,
        budget: BufferBudget | None = None,
        limit_unsent: Callable[[bool], object] | None = None,
    ) -> SubscriptionStream:
        """Subscribe `identity` to `pattern`.  Raises what `Hub.admit` and a subscription may raise.

        Streams that share a `budget` buffer no more than that together.  `limit_unsent` is called before its
        replay begins, and behind it.
        """
        stream = cls(encoded_size)
        if limit_unsent is not None:
            stream._limit_unsent = limit_unsent
        stream._connection = hub.admit(stream, host, admission, identity)
        stream._connection.send_queue.budget = stream._budget = budget
        stream._connection.receive(Subscribe(pattern, after))
        try:
            stream.subscribed = await stream._when_subscribed
        except BaseException:
            stream.unsubscribe()
            raise
        return stream

    def next(self) -> Deferred[StreamItem]:
        """The next item.  One call at a time may wait; cancelling it loses nothing."""
        if self._buffer:
            delivery = self._buffer.popleft()
            self._add_buffered(-self.size_of(delivery))
            if not self._buffer:
                self._connection.send_queue.resumeProducing()
            return succeed(delivery)
        if self.farewell:
            return succeed(None)
        self._pending_next = Deferred(self._on_next_cancelled)
        return self._pending_next

    def unsubscribe(self) -> None:
        """End the stream: nothing of the subscription is left."""
        self._add_buffered(-self._buffered_bytes)
        self._buffer.clear()  # stream and connection are a cycle: else it would wait for the garbage collector
        self.abort()

    def _add_buffered(self, size: int) -> None:
        self._buffered_bytes += size
        if self._budget is not None:
            self._budget.used_bytes += size

    def _on_next_cancelled(self, reader: Deferred[StreamItem]) -> None:
        self._pending_next = None

    def _resolve_next(self, item: StreamItem) -> bool:
        """Give `item` to the reader, if it waits."""
        reader, self._pending_next = self._pending_next, None
        if reader is not None:
            reader.callback(item)
        return reader is not None

    # The connection calls these, as of any `Transport`.

    def send(self, reply: Reply) -> int:
        match reply:
            case Subscribed():
                self._when_subscribed.callback(reply)
            case ErrorReply(refusal=refusal):
                self._when_subscribed.errback(refusal)
            case Ping():
                self._connection.on_activity()  # the client has no way to answer: it counts as alive
                self._resolve_next(reply)
            case Delivery() | CaughtUp():
                if not self._resolve_next(reply):
                    self._buffer.append(reply)
                    self._add_buffered(self.size_of(reply))
                    if self._buffered_bytes >= MAX_BUFFERED:
                        self._connection.send_queue.pauseProducing()
        return self.size_of(reply)

    def send_batch(self, batch: DeliveryBatch) -> int:
        return 0

    def size_of(self, reply: Reply) -> int:
        return self._encoded_size(reply) if isinstance(reply, Delivery) else 0

    def close(self, farewell: Farewell) -> None:
        self.farewell = farewell
        if not self._when_subscribed.called:
            self._when_subscribed.errback(Unavailable(farewell.message))
        self._resolve_next(None)

    def abort(self) -> None:
        self._connection.connection_lost()
        self.farewell = self._connection.farewell
        self._resolve_next(None)

    def acknowledged_bytes(self) -> None:
        """What was delivered waits for the reader here, also when the connection is closed."""

    def limit_unsent(self, limited: bool) -> None:
        self._limit_unsent(limited)

    def pause_reading(self) -> None:
        """Nothing is read from a stream's client."""

    def resume_reading(self) -> None:
        """Nothing is read from a stream's client."""
