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

from ..observe.moments import seconds
from .events import WITHDRAWALS
from .gathering import Gathering
from .ports import BurstListener, Entry, Listener, Publication
from .sight import Sight
from .topics import TopicTree
from .wire import Burst, Delivery

HELD = 100  # publications on live topics, of at most a megabyte each, that wait while we are blind

# Told of each publication and event: its type ("publication" for a client's), how many heard it,
# and how many failed to.
Observed = Callable[[str, int, int], object]


def _unobserved(kind: str, heard: int, failed: int) -> None:
    pass


@define(eq=False, repr=False)
class Audience:
    _observed: Observed = _unobserved
    _tree: TopicTree[Listener] = field(factory=TopicTree)
    guards: list[Listener] = field(factory=list)  # who end sessions
    forgetters: list[Callable[[], object]] = field(factory=list)  # who keep what may be withdrawn
    position: int = 0  # of the newest entry of the log that was told, or of its head at start
    cursor: str | None = None  # of that position
    sight: Sight | None = None  # of the log, by whoever follows it
    _awaited: list[tuple[int, Deferred[None]]] = field(factory=list)
    _held: Deque[Publication] = field(factory=deque)  # while blind
    _gathering: Gathering | None = None  # where what is published waits for the end of the turn

    _log = Logger()

    @property
    def empty(self) -> bool:
        return self._tree.empty

    def add(self, pattern: str, listener: Listener) -> None:
        self._tree.add(pattern, listener)

    def remove(self, pattern: str, listener: Listener) -> None:
        self._tree.remove(pattern, listener)

    def gather(self, clock: IReactorTime) -> None:
        """From now on, tell what is published at the end of the turn."""
        self._gathering = Gathering(self.tell_now, clock)

    def tell(self, told: Publication) -> Deferred[None] | None:
        """Deliver on the live lane to all who listen and may read; what it gives fires once that is done."""
        if not self._tree.covers(told.topic):
            self._observed("publication", 0, 0)
        elif self._gathering is not None:
            return self._gathering.put(told)
        else:
            self.tell_now([told])
        return None

    def told(self) -> Deferred[None]:
        """Fires once all that `tell` was asked for is told."""
        return succeed(None) if self._gathering is None else self._gathering.told()

    def tell_now(self, told: Sequence[Publication]) -> int:
        """Deliver these, which are on one topic: now, or once we are not blind any more.

        Gives to how many listeners several had to be told one by one.
        """
        if self._held or (self.sight is not None and self.sight.blind):
            for each in told:
                self._hold(each)
            return 0
        deliveries = tuple(
            Delivery(each.topic, each.content, each.metadata, each.at, each.sender, each.id) for each in told
        )
        singly = self._tell_burst(Burst(told[0].topic, deliveries))
        return singly if len(deliveries) > 1 else 0

    async def clear(self) -> None:
        """For a command: returns while we are not blind.  Raises `Unavailable`."""
        if self.sight is not None:
            await self.sight.clear()

    def _hold(self, told: Publication) -> None:
        """The oldest goes where there are too many: the live lane is at most once."""
        assert self.sight is not None
        if not self._held:
            self.sight.regained().addCallback(self._let_go)
        elif len(self._held) == HELD:
            self._held.popleft()
            self._observed("publication", 0, 1)
        self._held.append(told)

    def _let_go(self, _: object) -> None:
        held, self._held = self._held, deque()
        for told in held:
            self.tell_now([told])

    def warn(self, entry: Entry) -> None:
        """Tell the `guards` of what is further on in the log, before anybody hears of what comes first."""
        for guard in self.guards:
            guard.hear(as_heard(entry, entry.event.topics[0]))

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
        if entry.event.type in WITHDRAWALS:
            for forget in self.forgetters:
                forget()
        if not entry.blank:  # else what it told of was withdrawn since
            self._tell(entry)
        if self._awaited:
            reached = [told for position, told in self._awaited if position <= self.position]
            self._awaited = [each for each in self._awaited if each[0] > self.position]
            for told in reached:
                told.callback(None)

    def _tell(self, entry: Entry) -> None:
        heard: set[Listener] = set()
        failed = 0
        for topic in entry.event.topics:
            delivery = None
            for listener in self._tree.match(topic):
                if listener in heard:
                    continue
                delivery = delivery or as_heard(entry, topic)
                try:
                    if listener.hear(delivery):
                        heard.add(listener)
                except Exception:
                    failed += self._failed(topic)
        self._observed(entry.event.type, len(heard), failed)

    def _tell_burst(self, burst: Burst) -> int:
        """Each listener hears all of it at once, or one by one; gives how many wanted the latter."""
        singly: list[Listener] = []
        whole = broken = 0
        for listener in self._tree.match(burst.topic):
            try:
                taken = listener.hear_all(burst) if isinstance(listener, BurstListener) else None
            except Exception:
                broken += self._failed(burst.topic)
                continue
            if taken is None:
                singly.append(listener)
            else:
                whole += taken
        for delivery in burst.deliveries:
            heard, failed = whole, broken
            for listener in singly:
                try:
                    heard += listener.hear(delivery)
                except Exception:
                    failed += self._failed(burst.topic)
            self._observed("publication", heard, failed)
        return len(singly)

    def _failed(self, topic: str) -> int:
        """One broken listener must not cost the others their message.  Returns 1."""
        self._log.failure("listener failed on {topic}", topic=topic)
        return 1


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
