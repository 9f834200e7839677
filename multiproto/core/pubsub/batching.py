"""What is published on live topics in one turn of the reactor, told at its end.

Publications on one topic that follow each other reach each listener as one
`Burst`: rights are looked up once, bytes are joined once, and a connection
costs one write.  Publishers are answered when theirs was told, as without this.

Bought, in CPU of a delivery to 1,000 subscribers, 16 at a time and with what
`prompt` does: over TCP 10.7 to 0.6 µs, over WebSocket 19.7 to 0.9 µs
(docs/decisions/020-fast-paths.md).
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Sequence

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..protocol import MAX_BATCH_BYTES
from ..transactions import Publication

TURN_BUDGET = 0.01  # seconds of telling, before the reactor has its turn
MAX_BATCH = 16  # publications in a burst
WIRE_OVERHEAD = 600  # bytes that a wire adds to a publication's own, at most: its topic, ids, times
MAX_SINGLE_DELIVERIES = 50  # listeners that are told one by one, however many come at once
UNBATCHED_FOR = 1.0  # seconds without bursts, when there were so many
FIRST_BATCH = 2  # publications in the first burst on a topic, for nobody knows yet how many listen one by one
MAX_TRACKED_TOPICS = 1000  # topics; at one more, all are forgotten


@define(eq=False, repr=False)
class PublicationBatcher:
    """Grows no larger than what sessions may have outstanding, for each waits until its own is told."""

    _dispatch: Callable[[Sequence[Publication]], int]  # as `Dispatcher.dispatch_batch`
    _clock: IReactorTime
    _queue: Deque[tuple[Publication, Deferred[None]]] = Factory(deque)
    _last_dispatched: Deferred[None] | None = None  # of those that came
    _unbatched_until: float = 0.0  # a burst would hold the reactor for too long
    _batchable_until: dict[str, float] = Factory(dict)  # that it would not, by topic

    def enqueue(self, publication: Publication) -> Deferred[None]:
        """Fires once it was told."""
        told: Deferred[None] = Deferred()
        self._last_dispatched = told
        self._queue.append((publication, told))
        if len(self._queue) == 1:
            self._clock.callLater(0, self._flush)
        return told

    def flushed(self) -> Deferred[None]:
        """Fires once all that came was told, and who published it is answered."""
        told: Deferred[None] = Deferred()
        if self._last_dispatched is None or self._last_dispatched.called:
            told.callback(None)
        else:
            self._last_dispatched.addCallback(told.callback)
        return told

    def _flush(self) -> None:
        """As much as the time of one turn allows.

        What answers to publishers make them publish comes in the next one.
        """
        until, answered = self._clock.seconds() + TURN_BUDGET, []
        while self._queue:
            burst = self._next_batch(until)
            if self._dispatch([publication for publication, _ in burst]) > MAX_SINGLE_DELIVERIES:
                self._unbatched_until = until + UNBATCHED_FOR
            elif len(burst) > 1:
                self._mark_batchable(burst[0][0].topic, until)
            answered += [told for _, told in burst]
            if self._clock.seconds() >= until:
                break
        if self._queue:
            self._clock.callLater(0, self._flush)
        for told in answered:
            told.callback(None)

    def _mark_batchable(self, topic: str, now: float) -> None:
        """A burst on `topic` does no harm."""
        if len(self._batchable_until) >= MAX_TRACKED_TOPICS and topic not in self._batchable_until:
            self._batchable_until.clear()
        self._batchable_until[topic] = now + UNBATCHED_FOR

    def _next_batch(self, now: float) -> list[tuple[Publication, Deferred[None]]]:
        burst = [self._queue.popleft()]
        first = burst[0][0]
        if now < self._unbatched_until:
            return burst
        most = MAX_BATCH if now < self._batchable_until.get(first.topic, 0.0) else FIRST_BATCH
        size = first.size + WIRE_OVERHEAD
        while self._queue and len(burst) < most:
            following = self._queue[0][0]
            size += following.size + WIRE_OVERHEAD
            if following.topic != first.topic or size > MAX_BATCH_BYTES:
                break
            burst.append(self._queue.popleft())
        return burst
