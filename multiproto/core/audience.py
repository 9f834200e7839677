"""Everyone who listens on this instance, and how a publication reaches them.

Both lanes end here: the live broker and the log's follower tell, sessions hear.
"""

from __future__ import annotations

from typing import Callable, Iterable

from attrs import define, field
from twisted.logger import Logger

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
    cursor: str | None = None  # of the newest entry of the log that was told, or of its head at start

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

    def tell_entry(self, entry: Entry, at: float) -> None:
        """Deliver from the log: once to each listener, on the first topic it covers and may read."""
        self.cursor = entry.cursor
        event = entry.event
        if not event.content:
            return  # blanked since: what it told of was withdrawn
        metadata = {"eventType": event.type, "eventId": event.id, "timestamp": event.at}
        self._tell(
            event.type,
            (
                Delivery(topic, event.content, metadata, at, id=event.id, cursor=entry.cursor)
                for topic in event.topics
            ),
        )

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
