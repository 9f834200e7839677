"""A subscription as something to ask for the next delivery: for streams that only listen.

A GraphQL subscription or a server-sent event stream is a `Connection` like any
other connection; `SubscriptionStream` is its peer.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Union

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

MAX_BUFFERED = 65_536  # bytes held for the reader before the session's own, bounded outbox fills

# `CaughtUp`: a resumed stream has no more to replay; `Ping`: nothing for a while; `None`: the end
StreamItem = Union[Delivery, CaughtUp, Ping, None]


@define(eq=False, repr=False)
class SubscriptionStream:
    """Deliveries of one pattern, in order, for one reader, who must `unsubscribe` in the end."""

    _encoded_size: Callable[[Delivery], int]  # bytes that this stream's wire writes
    subscribed: Subscribed = field(init=False)
    farewell: Farewell | None = None  # why there will be no more
    _connection: Connection = field(init=False)
    _buffer: Deque[Delivery | CaughtUp] = Factory(deque)
    _buffered_bytes: int = 0
    _budget: BufferBudget | None = None  # shared with other feeds
    _pending_next: Deferred[StreamItem] | None = None
    _when_subscribed: Deferred[Subscribed] = Factory(Deferred)

    @classmethod
    async def open(
        cls,
        hub: Hub,
        line: Admission,
        host: str,
        who: Identity,
        weigh: Callable[[Delivery], int],
        pattern: str,
        after: str | None = None,
        allowance: BufferBudget | None = None,
    ) -> SubscriptionStream:
        """Subscribe `who`.  Raises what `Hub.admit` and a subscription may raise.

        Feeds that share an `allowance` hold no more than that unread, all together.
        """
        feed = cls(weigh)
        feed._connection = hub.admit(feed, host, line, who)
        feed._connection.send_queue.budget = feed._budget = allowance
        feed._connection.receive(Subscribe(pattern, after))
        try:
            feed.subscribed = await feed._when_subscribed
        except BaseException:
            feed.unsubscribe()
            raise
        return feed

    def next(self) -> Deferred[StreamItem]:
        """What comes next.  One question at a time; cancelling it loses nothing."""
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
        """The reader wants no more; nothing of the subscription is left."""
        self._add_buffered(-self._buffered_bytes)
        self._buffer.clear()  # feed and session hold each other, so it would wait for the garbage collector
        self.abort()

    def _add_buffered(self, size: int) -> None:
        self._buffered_bytes += size
        if self._budget is not None:
            self._budget.used_bytes += size

    def _on_next_cancelled(self, reader: Deferred[StreamItem]) -> None:
        self._pending_next = None

    def _resolve_next(self, heard: StreamItem) -> bool:
        """Give `heard` to the reader, if it waits."""
        reader, self._pending_next = self._pending_next, None
        if reader is not None:
            reader.callback(heard)
        return reader is not None

    # The session calls these: ports.Peer.

    def send(self, reply: Reply) -> int:
        match reply:
            case Subscribed():
                self._when_subscribed.callback(reply)
            case ErrorReply(refusal=refusal):
                self._when_subscribed.errback(refusal)
            case Ping():
                self._connection.on_activity()  # a stream has no way to answer
                self._resolve_next(reply)
            case Delivery() | CaughtUp():
                if not self._resolve_next(reply):
                    self._buffer.append(reply)
                    self._add_buffered(self.size_of(reply))
                    if self._buffered_bytes >= MAX_BUFFERED:
                        self._connection.send_queue.pauseProducing()
        return self.size_of(reply)

    def send_batch(self, burst: DeliveryBatch) -> int:
        return 0

    def size_of(self, reply: Reply) -> int:
        return self._encoded_size(reply) if isinstance(reply, Delivery) else 0

    def close(self, why: Farewell) -> None:
        self.farewell = why
        if not self._when_subscribed.called:
            self._when_subscribed.errback(Unavailable(why.message))
        self._resolve_next(None)

    def abort(self) -> None:
        self._connection.connection_lost()
        self.farewell = self._connection.farewell
        self._resolve_next(None)

    def pause_reading(self) -> None:
        """A stream says nothing that could be paused."""

    def resume_reading(self) -> None:
        """Nothing was paused."""
