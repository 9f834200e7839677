"""Live publications of one turn of the reactor, delivered in batches at its end.

Publications on one topic that follow each other reach each listener as one
`DeliveryBatch`: rights are checked once, bytes are joined once, and a connection
costs one write.  A publisher's acknowledgement waits for the delivery, as without
batches.

Measured, in CPU of a delivery to 1,000 subscribers, 16 at a time and with the
reactor's coalesced writes: over TCP 10.7 to 0.6 µs, over WebSocket 19.7 to 0.9 µs
(docs/decisions/020-fast-paths.md).
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ...base.bounded_map import BoundedMap
from ...base.waiters import Waiters
from ..protocol import MAX_BATCH_BYTES
from ..transactions import Publication

TURN_BUDGET = 0.01  # seconds of deliveries, before the reactor has its turn
MAX_BATCH = 16  # publications in a batch
WIRE_OVERHEAD = 600  # bytes that a wire adds to a publication's own, at most: its topic, ids, times
MAX_SINGLE_DELIVERIES = 50  # listeners that may get the deliveries of a batch one by one
UNBATCHED_FOR = 1.0  # seconds without batches, after there were more such listeners
FIRST_BATCH = 2  # publications in the first batch on a topic: how many listeners want them singly is unknown
MAX_TRACKED_TOPICS = 1000  # topics of which it is known that they may be batched


@define(eq=False, repr=False)
class PublicationBatcher:
    """Bounded by what connections may have in flight, since each publisher waits for its own."""

    _dispatch: Callable[[Sequence[Publication]], int]  # as `Dispatcher.dispatch_batch`
    _clock: IReactorTime
    _queue: Deque[tuple[Publication, Deferred[None]]] = Factory(deque)
    _last_pending: Deferred[None] | None = None  # of the last publication that is not delivered and answered
    _flush_waiters: dict[Deferred[None], Waiters[None]] = Factory(dict)  # by the publication they wait for
    _unbatched_until: float = 0.0  # when batches may be tried again: one would hold the reactor for too long
    _batchable_until: BoundedMap[str, float] = Factory(lambda: BoundedMap(MAX_TRACKED_TOPICS))  # by topic

    def enqueue(self, publication: Publication) -> Deferred[None]:
        """Fires once it is delivered."""
        delivered: Deferred[None] = Deferred()
        self._last_pending = delivered
        self._queue.append((publication, delivered))
        if len(self._queue) == 1:
            self._clock.callLater(0, self._flush)
        return delivered

    def flushed(self) -> Deferred[None]:
        """Fires once all publications so far are delivered and their publishers answered."""
        if self._last_pending is None:
            return succeed(None)
        # Not a callback of that Deferred: its publisher may be cancelled, and it with them.
        return self._flush_waiters.setdefault(self._last_pending, Waiters()).wait()

    def _flush(self) -> None:
        """Deliver as much as the budget of one turn allows.

        What publishers send in response to the acknowledgements is delivered in the next turn.
        """
        ends, delivered = self._clock.seconds() + TURN_BUDGET, []
        while self._queue:
            batch = self._next_batch(ends)
            if self._dispatch([publication for publication, _ in batch]) > MAX_SINGLE_DELIVERIES:
                self._unbatched_until = ends + UNBATCHED_FOR
            elif len(batch) > 1:
                self._batchable_until.put(batch[0][0].topic, ends + UNBATCHED_FOR)
            delivered += [deferred for _, deferred in batch]
            if self._clock.seconds() >= ends:
                break
        if self._queue:
            self._clock.callLater(0, self._flush)
        for deferred in delivered:
            deferred.callback(None)
            if deferred is self._last_pending:
                self._last_pending = None
            if deferred in self._flush_waiters:
                self._flush_waiters.pop(deferred).release(None)

    def _next_batch(self, now: float) -> list[tuple[Publication, Deferred[None]]]:
        batch = [self._queue.popleft()]
        first = batch[0][0]
        if now < self._unbatched_until:
            return batch
        batchable_until = self._batchable_until.get(first.topic) or 0.0
        most = MAX_BATCH if now < batchable_until else FIRST_BATCH
        size = first.size + WIRE_OVERHEAD
        while self._queue and len(batch) < most:
            following = self._queue[0][0]
            size += following.size + WIRE_OVERHEAD
            if following.topic != first.topic or size > MAX_BATCH_BYTES:
                break
            batch.append(self._queue.popleft())
        return batch
