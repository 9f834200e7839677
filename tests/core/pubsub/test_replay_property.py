"""Order, gaps and duplicates (docs/guarantees.md#g2-one-order) under any interleaving of clients, log and network."""

from __future__ import annotations

from typing import Callable, Iterator

from attrs import Factory, define
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.connections.connection import Connection
from multiproto.core.identity import Identity
from multiproto.core.protocol import (
    Authenticate,
    CaughtUp,
    CloseReason,
    Delivery,
    Farewell,
    Publish,
    Reply,
    Subscribe,
    Subscribed,
    Unsubscribe,
    Unsubscribed,
)
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.topics import overlaps
from multiproto.core.transactions import Entry, Page
from tests.examples import examples

from ... import fakes
from ...fakes import MemoryLog, RecordingTransport, make_core

NAMES = ("ann", "bob")
PATTERNS = ("log.a", "log.*", "users", "messages.**", "room.1")
TOPICS = (
    ("users",),
    ("users", "users.ann"),
    ("messages.user.bob",),
    ("messages", "messages.user.ann", "messages.channel.c"),
)
PUBLIC = ("log.a", "log.b", "room.1")  # what clients publish on; the last is live
NAMESPACES = ("users.**", "messages.**", "log.**")


@define(eq=False)
class Pruned(MemoryLog):
    """`MemoryLog` of which a namespace can be forgotten."""

    lows: dict[str, int] = Factory(lambda: dict.fromkeys(NAMESPACES, 0))

    def prune(self, namespace: str, upto: int) -> None:
        self.lows[namespace] = max(self.lows[namespace], upto)

    async def retention_floors(self) -> dict[str, int]:
        lows = dict(self.lows)
        await self._respond()
        return lows

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        """As it is when it is read, whenever the answer comes."""
        lows = dict(self.lows)
        page = await super(Pruned, self).read_page(lead, low, high)
        kept = tuple(e for e in page.entries if not any(_in(e, n) and e.position <= lows[n] for n in lows))
        return Page(kept, high, lows)


def _in(entry: Entry, namespace: str) -> bool:
    return overlaps(namespace, entry.event.topics[0])


@define
class NarrowPeer(RecordingTransport):
    """Its transport pauses with every reply while `narrow`, as a full buffer does."""

    pause_writes: Callable[[], None] = lambda: None
    narrow: bool = False

    def send(self, reply: Reply) -> int:
        size = super(NarrowPeer, self).send(reply)
        if self.narrow:
            self.pause_writes()
        return size


@define(eq=False)
class Client:
    name: str
    peer: NarrowPeer
    connection: Connection
    left: set[str] = Factory(set)  # patterns that it asked to be rid of


class World:
    """Two clients and a log; every action takes numbers that it makes sense of."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.core = make_core(self.clock, "log.**")
        assert isinstance(self.core.log, Pruned)
        self.log = self.core.log
        self.admission = self.core.admission(limits=ConnectionLimits(max_queued_replies=4))
        self.core.follower.startService().addErrback(lambda failure: failure.raiseException())
        for topics in TOPICS:
            self.log.append(2, *topics)
        self.core.follower.wake()
        self.past: list[Client] = []
        self.clients = [self.connect(name) for name in NAMES]

    def connect(self, name: str) -> Client:
        peer = NarrowPeer()
        connection = self.core.hub.admit(peer, "192.0.2.1", self.admission)
        peer.pause_writes = connection.send_queue.pauseProducing
        connection.receive(Authenticate(f"token-{name}"))
        client = Client(name, peer, connection)
        self.past.append(client)
        return client

    # What may happen.

    def write(self, n: int, m: int) -> None:
        self.log.append(1 + m % 3, *TOPICS[n % len(TOPICS)])

    def publish(self, n: int, m: int) -> None:
        self.clients[n % 2].connection.receive(Publish(PUBLIC[m % 3], m))

    def wake(self, n: int, m: int) -> None:
        self.core.follower.wake()

    def subscribe(self, n: int, m: int) -> None:
        self.clients[n % 2].connection.receive(Subscribe(PATTERNS[m % len(PATTERNS)]))

    def resume(self, n: int, m: int) -> None:
        after = f"cursor{n // 2 % (len(self.log.entries) + 2)}"
        self.clients[n % 2].connection.receive(Subscribe(PATTERNS[m % len(PATTERNS)], after))

    def resume_from_nonsense(self, n: int, m: int) -> None:
        self.clients[n % 2].connection.receive(Subscribe(PATTERNS[m % len(PATTERNS)], "nonsense"))

    def unsubscribe(self, n: int, m: int) -> None:
        client, pattern = self.clients[n % 2], PATTERNS[m % len(PATTERNS)]
        client.left.add(pattern)
        client.connection.receive(Unsubscribe(pattern))

    def reconnect(self, n: int, m: int) -> None:
        """After a farewell, or without."""
        client = self.clients[n % 2]
        if m % 2:
            client.connection.close(CloseReason.SHUTDOWN)
        client.connection.connection_lost()
        self.clients[n % 2] = self.connect(client.name)

    def pause(self, n: int, m: int) -> None:
        self.clients[n % 2].connection.send_queue.pauseProducing()

    def drain(self, n: int, m: int) -> None:
        self.clients[n % 2].connection.send_queue.resumeProducing()

    def narrow(self, n: int, m: int) -> None:
        self.clients[n % 2].peer.narrow = bool(m % 2)

    def prune(self, n: int, m: int) -> None:
        self.log.prune(NAMESPACES[m % 3], n % (self.core.dispatcher.position + 1))

    def slow(self, n: int, m: int) -> None:
        self.log.slow = True

    def answer(self, n: int, m: int) -> None:
        self.log.slow = bool(m % 2)
        self.log.release()

    def turn(self, n: int, m: int) -> None:
        self.clock.advance(0)

    def settle(self) -> None:
        """Nothing is away, paused or waiting any more."""
        self.log.slow = False
        for client in self.clients:
            client.peer.narrow = False
        for _ in range(30):
            self.log.release()
            self.core.follower.wake()
            for client in self.clients:
                client.connection.send_queue.resumeProducing()
            self.clock.advance(0)


ACTIONS = (
    [World.resume] * 3
    + [World.write, World.publish, World.wake, World.answer, World.turn] * 2
    + [World.subscribe, World.resume_from_nonsense, World.unsubscribe, World.reconnect]
    + [World.pause, World.drain, World.narrow, World.prune, World.slow]
)
Script = list[tuple[Callable[[World, int, int], None], int, int]]
number = st.integers(0, 60)
AHEAD: Script = [  # of the follower, while another pattern has not heard it
    (World.subscribe, 0, 2),
    (World.write, 0, 1),
    (World.resume, 20, 0),
    (World.reconnect, 0, 1),
]
PRUNED_MIDWAY: Script = [  # between two pages
    (World.slow, 0, 0),
    (World.resume, 0, 2),
    (World.answer, 0, 1),
    (World.answer, 0, 1),
    (World.write, 0, 1),
    (World.wake, 0, 0),
    (World.answer, 0, 1),
    (World.prune, 10, 0),
]
scripts = st.lists(st.tuples(st.sampled_from(ACTIONS), number, number), min_size=5, max_size=40)


@define(eq=False)
class Heard:
    """One subscription as its client saw it."""

    opened: Subscribed
    positions: list[int] = Factory(list)
    behind: bool = False  # catching up
    closed: bool = False


def position_of(cursor: str | None) -> int:
    assert cursor is not None
    return int(cursor.removeprefix("cursor"))


class InterleavingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(fakes, "MemoryLog", Pruned)

    @settings(max_examples=examples(1500), deadline=None, database=None, derandomize=True)
    @given(scripts)
    @example(AHEAD)
    @example(PRUNED_MIDWAY)
    def test_g2_to_g4(self, script: Script) -> None:
        world = World()
        for action, n, m in script:
            action(world, n, m)
        world.settle()
        for client in world.past:
            self.check(world, client)

    def check(self, world: World, client: Client) -> None:
        """One session against the log."""
        said = client.peer.sent
        unmarked = [d.id for d in said if isinstance(d, Delivery) and d.replay_pattern is None]
        self.assertEqual(len(unmarked), len(set(unmarked)), "told twice")
        for heard in self.subscriptions(world, client):
            due = list(self.due(world, self.identity(client), heard.opened))
            self.assertEqual(heard.positions, due[: len(heard.positions)], heard)  # in order, no gap, no more
            missing = due[len(heard.positions) :]
            if heard.closed or not missing:
                continue
            farewell = said[-1]
            if isinstance(farewell, Farewell):
                if heard.opened.pattern in client.left:
                    continue  # its answer may still have been in the outbox
                self.assertLess(position_of(farewell.cursor), missing[0], heard)
            else:
                self.assertTrue(client.connection.disconnected, f"{missing} never told: {heard}")

    def subscriptions(self, world: World, client: Client) -> list[Heard]:
        """Those to what the log keeps, with what each was told."""
        found: list[Heard] = []
        identity = self.identity(client)
        for said in client.peer.sent:
            current = {each.opened.pattern: each for each in found if not each.closed}
            match said:
                case Subscribed(retention="log"):
                    found.append(Heard(said, behind=said.recovered is True))
                case Unsubscribed() if said.pattern in current:
                    current[said.pattern].closed = True
                case CaughtUp():
                    self.assertTrue(current[said.pattern].behind)
                    current[said.pattern].behind = False
                case Delivery() if said.cursor is not None:
                    position = position_of(said.cursor)
                    entry = world.log.entries[position - 1]
                    self.assertEqual((said.id, said.cursor), (entry.event.id, entry.cursor))
                    self.assertTrue(Policy().may_read(identity, said.topic))
                    hearers = [
                        heard
                        for pattern, heard in current.items()
                        if said.replay_pattern == (pattern if heard.behind else None)
                        and self.covers(identity, pattern, entry)
                    ]
                    self.assertTrue(hearers, f"nobody asked for {said}")
                    for heard in hearers:
                        heard.positions.append(position)
        return found

    def due(self, world: World, who: Identity, opened: Subscribed) -> Iterator[int]:
        """All that a subscription must tell, in order."""
        for entry in world.log.entries[position_of(opened.cursor) :]:
            if self.covers(who, opened.pattern, entry):
                yield entry.position

    def identity(self, client: Client) -> Identity:
        return Identity(client.name, f"session-{client.name}", 1000.0, deadline=1000.0)

    def covers(self, who: Identity, pattern: str, entry: Entry) -> bool:
        return any(overlaps(pattern, topic) and Policy().may_read(who, topic) for topic in entry.event.topics)
