"""Delivers publications and log events to all subscribers of this instance.

Both lanes end here: the broker dispatches live publications, the log's
follower dispatches logged events, and the listeners deliver them to their peers.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Collection, Deque, Mapping, Sequence

from attrs import Factory, define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...base.timestamps import parse_timestamp
from ...base.waiters import Waiters
from ..events import WITHDRAWALS, required_topic
from ..ports import DeliveryBatchListener, DeliveryListener
from ..protocol import MAX_BATCH_BYTES, Delivery, DeliveryBatch
from ..revocations import Revocations
from ..transactions import Entry, Publication
from .batching import WIRE_OVERHEAD, PublicationBatcher
from .log_freshness import LogFreshness
from .namespaces import CANARIES, REVOCATIONS, USERS
from .topics import Coverage, TopicTree

MAX_PENDING = 100  # publications on live topics, of at most a megabyte each, that wait while the log is stale

REVOKING = (USERS, REVOCATIONS)  # namespaces with events that end rights

# Called for each publication and event with its type ("publication" for a client's), how many
# listeners accepted it, and how many failed to.
DispatchObserver = Callable[[str, int, int], object]


def _ignore(event_type: str, delivered: int, failed: int) -> None:
    pass


@define(eq=False, repr=False)
class Dispatcher:
    _on_dispatch: DispatchObserver = _ignore
    revocations: Revocations = field(factory=Revocations)
    _tree: TopicTree[DeliveryListener] = field(factory=TopicTree)
    on_withdrawal: list[Callable[[], object]] = field(factory=list)  # called when logged content is withdrawn
    on_log_replaced: list[Callable[[], object]] = field(factory=list)  # called when it has another history
    position: int = 0  # of the newest entry of the log that was dispatched, or of its head at the start
    cursor: str | None = None  # of that position
    freshness: LogFreshness | None = None  # set by whoever follows the log
    _advanced: Waiters[None] = field(factory=Waiters)  # released when `position` grows
    _pending: Deque[Publication] = field(factory=deque)  # while the log is stale
    _batcher: PublicationBatcher | None = None  # if publications wait for the end of the reactor's turn

    _log = Logger()

    @property
    def is_empty(self) -> bool:
        return self._tree.is_empty

    def subscribe(self, pattern: str, listener: DeliveryListener) -> None:
        self._tree.add(pattern, listener)

    def unsubscribe(self, pattern: str, listener: DeliveryListener) -> None:
        self._tree.remove(pattern, listener)

    def enable_batching(self, clock: IReactorTime) -> None:
        """From now on, deliver live publications at the end of the reactor's turn."""
        self._batcher = PublicationBatcher(self.dispatch_batch, clock)

    def dispatch_live(self, publication: Publication) -> Deferred[None] | None:
        """Deliver to all subscribers who may read it; the Deferred fires once that is done, `None`: it is done."""
        if not self._tree.has_match(publication.topic):
            self._on_dispatch("publication", 0, 0)
        elif self._batcher is not None:
            return self._batcher.enqueue(publication)
        else:
            self.dispatch_batch([publication])
        return None

    def flushed(self) -> Deferred[None]:
        """Fires once all that `dispatch_live` has accepted so far is delivered."""
        return succeed(None) if self._batcher is None else self._batcher.flushed()

    def dispatch_batch(self, publications: Sequence[Publication]) -> int:
        """Deliver these, which are on one topic: now, or once the log is not stale any more.

        Gives to how many listeners several had to be delivered one by one.
        """
        if self._pending or self.is_stale:
            for publication in publications:
                self._enqueue_pending(publication)
            return 0
        deliveries = tuple(
            Delivery(
                publication.topic,
                publication.content,
                publication.metadata,
                publication.accepted_at,
                publication.sender_id,
                publication.id,
                encoded_content=publication.encoded_content,
            )
            for publication in publications
        )
        one_by_one = self._deliver_batch(DeliveryBatch(publications[0].topic, deliveries))
        return one_by_one if len(deliveries) > 1 else 0

    @property
    def is_stale(self) -> bool:
        """Whether the log is."""
        return self.freshness is not None and self.freshness.is_stale

    async def wait_until_current(self) -> None:
        """Return once the log is not stale: before a command is executed.  Raises `Unavailable`."""
        if self.freshness is not None:
            await self.freshness.wait_until_current()

    def _enqueue_pending(self, publication: Publication) -> None:
        """The oldest is dropped where there are too many: the live lane is at most once."""
        assert self.freshness is not None
        if not self._pending:
            self.freshness.when_current().addCallback(self._dispatch_pending)
        elif len(self._pending) == MAX_PENDING:
            self._pending.popleft()
            self._on_dispatch("publication", 0, 1)
        self._pending.append(publication)

    def _dispatch_pending(self, _: object) -> None:
        pending, self._pending = self._pending, deque()
        for publication in pending:
            self.dispatch_batch([publication])

    def announce_revocations(self, entry: Entry) -> None:
        """Revoke what `entry`, further on in the log, ends: before any entry between is delivered."""
        self.revocations.revoke_logged(entry.event)

    def set_head(self, position: int, cursor: str) -> None:
        """Where the log stood when this instance began to follow it."""
        self.position, self.cursor = position, cursor

    def replace_log(self, position: int, cursor: str) -> None:
        """The log was replaced by another, whose head is at `position`: what was dispatched may not be in it.

        Nobody can be told what is missing, and rights may have ended unseen.  So all that rests on the log begins anew.
        """
        self.set_head(position, cursor)
        for callback in self.on_log_replaced:
            callback()
        self._advanced.release(None)

    def skip_pruned(self, namespaces: Collection[str]) -> bool:
        """Before an entry is dispatched: entries of these `namespaces` that come before it were pruned, and never will be.

        Returns whether that matters: to a listener, or because one of them may have ended rights.  Then all that rests
        on the log must begin anew, as with `replace_log`.
        """
        for callback in self.on_withdrawal:  # one of them may have been a withdrawal
            callback()
        return any(name in REVOKING or self._tree.overlaps(name) for name in namespaces if name != CANARIES)

    async def wait_for(self, position: int) -> None:
        """Return once the entry at `position` was dispatched."""
        while position > self.position:
            await self._advanced.wait()

    def dispatch_logged(self, entry: Entry) -> None:
        """Deliver from the log, each listener what its patterns cover."""
        self.set_head(entry.position, entry.cursor)
        self.revocations.revoke_logged(entry.event)
        if entry.event.type in WITHDRAWALS:
            for callback in self.on_withdrawal:
                callback()
        if not entry.redacted:  # else its content was withdrawn since
            self._deliver_entry(entry)
        self._advanced.release(None)

    def _deliver_entry(self, entry: Entry) -> None:
        matched = self._tree.match_by_coverage(*entry.event.topics)
        deliveries = {
            topic: delivery_of(entry, topic)
            for topic in dict.fromkeys(topic for coverage, _ in matched for topic, _ in coverage)
        }
        reached = failed = 0
        for coverage, listeners in matched:
            group = _GroupDeliveries(coverage, deliveries)
            for listener in listeners:
                try:
                    reached += group.deliver_to(listener)
                except Exception:
                    failed += self._listener_failed(coverage[0][0])
        self._on_dispatch(entry.event.type, reached, failed)

    def _deliver_batch(self, batch: DeliveryBatch) -> int:
        """Each listener gets all of it at once, or one by one; gives how many wanted the latter."""
        one_by_one: list[tuple[Coverage, list[DeliveryListener]]] = []
        reached_at_once = failed_at_once = 0
        for coverage, listeners in self._tree.match_by_coverage(batch.topic):
            patterns = tuple(pattern for _, pattern in coverage) if len(coverage) > 1 else ()
            rest: list[DeliveryListener] = []
            for listener in listeners:
                accepted = None
                try:
                    if isinstance(listener, DeliveryBatchListener):
                        own = _batch_for(listener, batch, patterns) if patterns else batch
                        accepted = listener.deliver_batch(own)
                except Exception:
                    failed_at_once += self._listener_failed(batch.topic)
                    continue
                if accepted is None:
                    rest.append(listener)
                else:
                    reached_at_once += accepted
            if rest:
                one_by_one.append((coverage, rest))
        for delivery in batch.deliveries:
            reached, failed = reached_at_once, failed_at_once
            for coverage, listeners in one_by_one:
                group = _GroupDeliveries(coverage, {batch.topic: delivery})
                for listener in listeners:
                    try:
                        reached += group.deliver_to(listener)
                    except Exception:
                        failed += self._listener_failed(batch.topic)
            self._on_dispatch("publication", reached, failed)
        return sum(len(listeners) for _, listeners in one_by_one)

    def _listener_failed(self, topic: str) -> int:
        """One broken listener must not cost the others their delivery.  Returns 1."""
        self._log.failure("listener failed on {topic}", topic=topic)
        return 1


def _batch_for(
    listener: DeliveryBatchListener, batch: DeliveryBatch, patterns: tuple[str, ...]
) -> DeliveryBatch:
    """`batch` for a listener of whose patterns several cover its topic: as `_GroupDeliveries` has it for one delivery."""
    return batch.naming(patterns) if listener.uses_extensions else batch.repeated(len(patterns))


@define(eq=False, repr=False)
class _GroupDeliveries:
    """One event for all listeners whose patterns are the same; `deliveries` has it by topic.

    A listener gets it once, on the first topic that is covered and readable, and with the names of all patterns
    that it answers, if there are several; or else once for each pattern (docs/common.md#several-subscriptions).
    What that is, is found once for all who may read the same topics, and written at once: with 60 patterns each it took
    0.5 s for 1,000 connections, and a write for each pattern 66 to 263 ms for 40; anybody may have as many.
    """

    _coverage: Coverage
    _deliveries: Mapping[str, Delivery]
    _topics: tuple[str, ...] = ()  # that are covered; found when a listener has several patterns
    _named: dict[tuple[str, ...], Delivery] = Factory(dict)  # by the topics that may be read
    _one_for_each: dict[tuple[str, ...], list[DeliveryBatch]] = Factory(dict)  # likewise

    def deliver_to(self, listener: DeliveryListener) -> bool:
        """Whether the listener may read it."""
        if len(self._coverage) == 1:
            return listener.deliver(self._deliveries[self._coverage[0][0]])
        if not isinstance(listener, DeliveryBatchListener):
            return any(listener.deliver(self._deliveries[topic]) for topic, _ in self._coverage)
        if not self._topics:
            self._topics = tuple(dict.fromkeys(topic for topic, _ in self._coverage))
        topics = tuple(topic for topic in self._topics if listener.may_read(self._deliveries[topic]))
        if listener.uses_extensions and topics:
            listener.deliver(self._naming_patterns(topics))
        elif topics:
            for batch in self._for_each_pattern(topics):
                if listener.deliver_batch(batch) is None:
                    for delivery in batch.deliveries:
                        listener.deliver(delivery)
        return bool(topics)

    def _naming_patterns(self, topics: tuple[str, ...]) -> Delivery:
        if topics not in self._named:
            patterns = tuple(dict.fromkeys(pattern for topic, pattern in self._coverage if topic in topics))
            delivery = self._deliveries[topics[0]]
            self._named[topics] = delivery.naming(patterns) if len(patterns) > 1 else delivery
        return self._named[topics]

    def _for_each_pattern(self, topics: tuple[str, ...]) -> list[DeliveryBatch]:
        """Of each pattern, that on the first topic that it covers; as many in a batch as one write may have."""
        if topics not in self._one_for_each:
            readable = [(topic, pattern) for topic, pattern in self._coverage if topic in topics]
            first_topics = {pattern: topic for topic, pattern in reversed(readable)}
            deliveries = [
                self._deliveries[topic] for topic, pattern in readable if first_topics[pattern] == topic
            ]
            size = len(deliveries[0].encoded_content or b"") + WIRE_OVERHEAD
            number = max(1, MAX_BATCH_BYTES // size)
            self._one_for_each[topics] = [
                DeliveryBatch(deliveries[first].topic, tuple(deliveries[first : first + number]))
                for first in range(0, len(deliveries), number)
            ]
        return self._one_for_each[topics]


def delivery_of(entry: Entry, topic: str, replay_pattern: str | None = None) -> Delivery:
    """`entry` as it is delivered on `topic`; replayed, on behalf of `replay_pattern`."""
    event = entry.event
    metadata = event.metadata
    if metadata is None:
        metadata = {"eventType": event.type, "eventId": event.id, "timestamp": event.occurred_at}
    return Delivery(
        topic,
        event.content,
        metadata,
        parse_timestamp(event.occurred_at),
        event.sender_id,
        event.id,
        entry.cursor,
        replay_pattern,
        entry.position,
        event.encoded_content,
        required_topic(event.topics, topic),
    )
