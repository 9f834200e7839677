"""Everyone who listens on this instance, and how a publication reaches them.

Both lanes end here: the live broker and the log's follower tell, sessions hear.
"""

from __future__ import annotations

from typing import Callable, Iterable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..observe.moments import seconds
from .ports import Entry, Listener, Publication
from .topics import TopicTree
from .wire import Delivery

# Told of each publication and event: its type ("publication" for a client's), how many heard it,
# and how many failed to.
Observed = Callable[[str, int, int], object]


def _unobserved(kind: str, heard: int, failed: int) -> None:
    pass


@define(eq=False, repr=False)
class Audience:
    _observed: Observed = _unobserved
    _tree: TopicTree[Listener] = field(factory=TopicTree)
    position: int = 0  # of the newest entry of the log that was told, or of its head at start
    cursor: str | None = None  # of that position
    _awaited: list[tuple[int, Deferred[None]]] = field(factory=list)

    _log = Logger()

    @property
    def empty(self) -> bool:
        return self._tree.empty

    def add(self, pattern: str, listener: Listener) -> None:
        self._tree.add(pattern, listener)

    def remove(self, pattern: str, listener: Listener) -> None:
        self._tree.remove(pattern, listener)

    def tell(self, told: Publication) -> None:
        """Deliver on the live lane, now, to all who listen and may read."""
        delivery = Delivery(told.topic, told.content, told.metadata, told.at, told.sender, told.id)
        self._tell("publication", [delivery])

    def stand_at(self, position: int, cursor: str) -> None:
        """Where the log stood when this instance began to follow it."""
        self.position, self.cursor = position, cursor

    def reached(self, position: int) -> Deferred[None]:
        """Fires once the entry at `position` was told."""
        told: Deferred[None] = Deferred()
        if position <= self.position:
            told.callback(None)
        else:
            self._awaited.append((position, told))
        return told

    def tell_entry(self, entry: Entry) -> None:
        """Deliver from the log: once to each listener, on the first topic it covers and may read."""
        self.stand_at(entry.position, entry.cursor)
        if not entry.blank:  # else what it told of was withdrawn since
            event = entry.event
            self._tell(event.type, (as_heard(entry, topic) for topic in event.topics))
        if self._awaited:
            reached = [told for position, told in self._awaited if position <= self.position]
            self._awaited = [each for each in self._awaited if each[0] > self.position]
            for told in reached:
                told.callback(None)

    def _tell(self, kind: str, deliveries: Iterable[Delivery]) -> None:
        heard: set[Listener] = set()
        failed = 0
        for delivery in deliveries:
            for listener in self._tree.match(delivery.topic):
                try:
                    if listener not in heard and listener.hear(delivery):
                        heard.add(listener)
                except Exception:
                    # One broken listener must not cost the others their message.
                    self._log.failure("listener failed on {topic}", topic=delivery.topic)
                    failed += 1
        self._observed(kind, len(heard), failed)


def as_heard(entry: Entry, topic: str, replay: str | None = None) -> Delivery:
    """What the log tells of, as it is heard on `topic`; again, on behalf of the pattern `replay`."""
    event = entry.event
    shown = event.metadata
    if shown is None:
        shown = {"eventType": event.type, "eventId": event.id, "timestamp": event.at}
    at = seconds(event.at)
    return Delivery(
        topic, event.content, shown, at, event.sender, event.id, entry.cursor, replay, entry.position
    )
