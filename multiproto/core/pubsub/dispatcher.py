"""Everyone who listens on this instance, and how a publication reaches them.

Both lanes end here: the live broker and the log's follower tell, sessions hear.
"""

from __future__ import annotations

from collections import deque
from typing import Callable, Deque, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...base.timestamps import parse_timestamp
from ..events import WITHDRAWALS
from ..ports import DeliveryBatchListener, DeliveryListener
from ..protocol import Delivery, DeliveryBatch
from ..transactions import Entry, Publication
from .batching import PublicationBatcher
from .log_freshness import LogFreshness
from .topics import TopicTree

MAX_PENDING = 100  # publications on live topics, of at most a megabyte each, that wait while we are blind

# Told of each publication and event: its type ("publication" for a client's), how many heard it,
# and how many failed to.
DispatchObserver = Callable[[str, int, int], object]


def _ignore(kind: str, heard: int, failed: int) -> None:
    pass


@define(eq=False, repr=False)
class Dispatcher:
    _on_dispatch: DispatchObserver = _ignore
    _tree: TopicTree[DeliveryListener] = field(factory=TopicTree)
    revocation_listeners: list[DeliveryListener] = field(factory=list)  # who end sessions
    on_withdrawal: list[Callable[[], object]] = field(factory=list)  # who keep what may be withdrawn
    position: int = 0  # of the newest entry of the log that was told, or of its head at start
    cursor: str | None = None  # of that position
    freshness: LogFreshness | None = None  # of the log, by whoever follows it
    _waiters: list[tuple[int, Deferred[None]]] = field(factory=list)
    _pending: Deque[Publication] = field(factory=deque)  # while blind
    _batcher: PublicationBatcher | None = None  # where what is published waits for the end of the turn

    _log = Logger()

    @property
    def is_empty(self) -> bool:
        return self._tree.is_empty

    def subscribe(self, pattern: str, listener: DeliveryListener) -> None:
        self._tree.add(pattern, listener)

    def unsubscribe(self, pattern: str, listener: DeliveryListener) -> None:
        self._tree.remove(pattern, listener)

    def enable_batching(self, clock: IReactorTime) -> None:
        """From now on, tell what is published at the end of the turn."""
        self._batcher = PublicationBatcher(self.dispatch_batch, clock)

    def dispatch_live(self, told: Publication) -> Deferred[None] | None:
        """Deliver on the live lane to all who listen and may read; what it gives fires once that is done."""
        if not self._tree.has_match(told.topic):
            self._on_dispatch("publication", 0, 0)
        elif self._batcher is not None:
            return self._batcher.enqueue(told)
        else:
            self.dispatch_batch([told])
        return None

    def flushed(self) -> Deferred[None]:
        """Fires once all that `dispatch_live` was asked for is told."""
        return succeed(None) if self._batcher is None else self._batcher.flushed()

    def dispatch_batch(self, told: Sequence[Publication]) -> int:
        """Deliver these, which are on one topic: now, or once we are not blind any more.

        Gives to how many listeners several had to be told one by one.
        """
        if self._pending or (self.freshness is not None and self.freshness.is_stale):
            for each in told:
                self._enqueue_pending(each)
            return 0
        deliveries = tuple(
            Delivery(each.topic, each.content, each.metadata, each.accepted_at, each.sender_id, each.id)
            for each in told
        )
        singly = self._deliver_batch(DeliveryBatch(told[0].topic, deliveries))
        return singly if len(deliveries) > 1 else 0

    async def wait_until_current(self) -> None:
        """For a command: returns while we are not blind.  Raises `Unavailable`."""
        if self.freshness is not None:
            await self.freshness.wait_until_current()

    def _enqueue_pending(self, told: Publication) -> None:
        """The oldest goes where there are too many: the live lane is at most once."""
        assert self.freshness is not None
        if not self._pending:
            self.freshness.when_current().addCallback(self._dispatch_pending)
        elif len(self._pending) == MAX_PENDING:
            self._pending.popleft()
            self._on_dispatch("publication", 0, 1)
        self._pending.append(told)

    def _dispatch_pending(self, _: object) -> None:
        held, self._pending = self._pending, deque()
        for told in held:
            self.dispatch_batch([told])

    def announce_revocations(self, entry: Entry) -> None:
        """Tell the `revocation_listeners` of what is further on in the log, before anybody hears of what comes first."""
        for guard in self.revocation_listeners:
            guard.deliver(delivery_of(entry, entry.event.topics[0]))

    def set_head(self, position: int, cursor: str) -> None:
        """Where the log stood when this instance began to follow it."""
        self.position, self.cursor = position, cursor

    def wait_for(self, position: int) -> Deferred[None]:
        """Fires once the entry at `position` was told."""
        told: Deferred[None] = Deferred()
        if position <= self.position:
            told.callback(None)
        else:
            self._waiters.append((position, told))
        return told

    def dispatch_logged(self, entry: Entry) -> None:
        """Deliver from the log: once to each listener, on the first topic it covers and may read."""
        self.set_head(entry.position, entry.cursor)
        if entry.event.type in WITHDRAWALS:
            for forget in self.on_withdrawal:
                forget()
        if not entry.redacted:  # else what it told of was withdrawn since
            self._deliver_entry(entry)
        if self._waiters:
            reached = [told for position, told in self._waiters if position <= self.position]
            self._waiters = [each for each in self._waiters if each[0] > self.position]
            for told in reached:
                told.callback(None)

    def _deliver_entry(self, entry: Entry) -> None:
        heard: set[DeliveryListener] = set()
        failed = 0
        for topic in entry.event.topics:
            delivery = None
            for listener in self._tree.match(topic):
                if listener in heard:
                    continue
                delivery = delivery or delivery_of(entry, topic)
                try:
                    if listener.deliver(delivery):
                        heard.add(listener)
                except Exception:
                    failed += self._listener_failed(topic)
        self._on_dispatch(entry.event.type, len(heard), failed)

    def _deliver_batch(self, burst: DeliveryBatch) -> int:
        """Each listener hears all of it at once, or one by one; gives how many wanted the latter."""
        singly: list[DeliveryListener] = []
        whole = broken = 0
        for listener in self._tree.match(burst.topic):
            try:
                taken = listener.deliver_batch(burst) if isinstance(listener, DeliveryBatchListener) else None
            except Exception:
                broken += self._listener_failed(burst.topic)
                continue
            if taken is None:
                singly.append(listener)
            else:
                whole += taken
        for delivery in burst.deliveries:
            heard, failed = whole, broken
            for listener in singly:
                try:
                    heard += listener.deliver(delivery)
                except Exception:
                    failed += self._listener_failed(burst.topic)
            self._on_dispatch("publication", heard, failed)
        return len(singly)

    def _listener_failed(self, topic: str) -> int:
        """One broken listener must not cost the others their message.  Returns 1."""
        self._log.failure("listener failed on {topic}", topic=topic)
        return 1


def delivery_of(entry: Entry, topic: str, replay: str | None = None) -> Delivery:
    """What the log tells of, as it is heard on `topic`; again, on behalf of the pattern `replay`."""
    event = entry.event
    shown = event.metadata
    if shown is None:
        shown = {"eventType": event.type, "eventId": event.id, "timestamp": event.occurred_at}
    at = parse_timestamp(event.occurred_at)
    return Delivery(
        topic, event.content, shown, at, event.sender_id, event.id, entry.cursor, replay, entry.position
    )
