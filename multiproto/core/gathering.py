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

from .ports import Publication
from .wire import AT_ONCE

SLICE = 0.01  # seconds of telling, before the reactor has its turn
MOST = 16  # publications in a burst
OVERHEAD = 600  # bytes that a wire adds to a publication's own, at most: its topic, ids, times
MANY = 50  # listeners that are told one by one, however many come at once
ALONE = 1.0  # seconds without bursts, when there were so many
FIRST = 2  # publications in the first burst on a topic, for nobody knows yet how many listen one by one
REMEMBERED = 1000  # topics; at one more, all are forgotten


@define(eq=False, repr=False)
class Gathering:
    """Grows no larger than what sessions may have outstanding, for each waits until its own is told."""

    _tell: Callable[[Sequence[Publication]], int]  # as `Audience.tell_now`
    _clock: IReactorTime
    _came: Deque[tuple[Publication, Deferred[None]]] = Factory(deque)
    _last: Deferred[None] | None = None  # of those that came
    _alone_until: float = 0.0  # a burst would hold the reactor for too long
    _known_until: dict[str, float] = Factory(dict)  # that it would not, by topic

    def put(self, publication: Publication) -> Deferred[None]:
        """Fires once it was told."""
        told: Deferred[None] = Deferred()
        self._last = told
        self._came.append((publication, told))
        if len(self._came) == 1:
            self._clock.callLater(0, self._tell_all)
        return told

    def told(self) -> Deferred[None]:
        """Fires once all that came was told, and who published it is answered."""
        told: Deferred[None] = Deferred()
        if self._last is None or self._last.called:
            told.callback(None)
        else:
            self._last.addCallback(told.callback)
        return told

    def _tell_all(self) -> None:
        """As much as the time of one turn allows.

        What answers to publishers make them publish comes in the next one.
        """
        until, answered = self._clock.seconds() + SLICE, []
        while self._came:
            burst = self._next(until)
            if self._tell([publication for publication, _ in burst]) > MANY:
                self._alone_until = until + ALONE
            elif len(burst) > 1:
                self._know(burst[0][0].topic, until)
            answered += [told for _, told in burst]
            if self._clock.seconds() >= until:
                break
        if self._came:
            self._clock.callLater(0, self._tell_all)
        for told in answered:
            told.callback(None)

    def _know(self, topic: str, now: float) -> None:
        """A burst on `topic` does no harm."""
        if len(self._known_until) >= REMEMBERED and topic not in self._known_until:
            self._known_until.clear()
        self._known_until[topic] = now + ALONE

    def _next(self, now: float) -> list[tuple[Publication, Deferred[None]]]:
        burst = [self._came.popleft()]
        first = burst[0][0]
        if now < self._alone_until:
            return burst
        most = MOST if now < self._known_until.get(first.topic, 0.0) else FIRST
        size = first.size + OVERHEAD
        while self._came and len(burst) < most:
            following = self._came[0][0]
            size += following.size + OVERHEAD
            if following.topic != first.topic or size > AT_ONCE:
                break
            burst.append(self._came.popleft())
        return burst
