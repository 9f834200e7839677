"""Everyone who listens on this instance, and how a publication reaches them.

Both lanes end here: the live broker and the log's follower tell, sessions hear.
"""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger

from .ports import Entry, Listener, Publication
from .topics import TopicTree
from .wire import Delivery


@define(eq=False, repr=False)
class Audience:
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

    def tell(self, publication: Publication) -> None:
        """Deliver on the live lane, now, to all who listen and may read."""
        topic = publication.topic
        told: dict[Listener, None] = {}
        self._tell_on(
            told,
            Delivery(
                topic,
                publication.content,
                publication.metadata,
                publication.at,
                publication.sender,
                publication.id,
            ),
        )

    def tell_entry(self, entry: Entry, at: float) -> None:
        """Deliver from the log: once to each listener, on the first topic it covers and may read."""
        self.cursor = entry.cursor
        event = entry.event
        if not event.content:
            return  # blanked since: what it told of was withdrawn
        metadata = {"eventType": event.type, "eventId": event.id, "timestamp": event.at}
        told: dict[Listener, None] = {}
        for topic in event.topics:
            self._tell_on(
                told, Delivery(topic, event.content, metadata, at, id=event.id, cursor=entry.cursor)
            )

    def _tell_on(self, told: dict[Listener, None], delivery: Delivery) -> None:
        for listener in self._tree.match(delivery.topic):
            try:
                if listener not in told and listener.hear(delivery):
                    told[listener] = None
            except Exception:
                # One broken listener must not cost the others their message.
                self._log.failure("listener failed on {topic}", topic=delivery.topic)
