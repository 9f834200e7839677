"""Both ends of the live lane, each in a process of its own, on orders from `lane.py`.

channel   as it is: one channel for all, told apart by each instance
topics    one channel for each topic, of which an instance has those that somebody listens to there
patterns  the same, but subscribed as patterns, as it would need to be for `room.**`
"""

from __future__ import annotations

import os
import time
from typing import Any, Sequence

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater, react

from multiproto.base.uuid7 import Uuid7Generator
from multiproto.broker.redis import RedisBroker
from multiproto.broker.redis_codec import BrokerMacKey, encode, encode_publication
from multiproto.core.protocol import Delivery
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.transactions import Publication
from multiproto.redis.address import RedisAddress
from tests.command_line import make_parser

from .apart import obey

reactor: Any = installed

KEY = BrokerMacKey.from_secret("a secret that all instances share")
CONTENT = {"text": "x" * 80}  # about 100 bytes of JSON
MOST_UNDER_WAY = 32 << 10  # bytes, then Redis is waited for
GIVES_UP = 20.0  # seconds
STRIDE = 7919  # prime: the topics come in an order without order


def topic(number: int, topics: int) -> str:
    """Of the publication `number`, when so many are published on."""
    return f"room.{number * STRIDE % topics}"


class _Unwatched:
    def on_dropped(self) -> None:
        raise SystemExit("a publication was not said")

    def on_malformed(self) -> None:
        raise SystemExit("something was malformed")

    def on_probed(self, seconds: float) -> None:
        pass


@define(eq=False, repr=False)
class Channel(RedisBroker):
    """The lane as it is, with a look at the clock."""

    topics: Sequence[str] = ()  # that somebody listens to here
    subscribing: float = 0.0  # when it last began to
    back: Deferred[None] | None = None  # fires when the probe has come back

    async def _subscribe(self, subscriber: Any) -> None:
        self.subscribing = time.perf_counter()
        await self._ask_for(subscriber)

    async def _ask_for(self, subscriber: Any) -> None:
        await RedisBroker._subscribe(self, subscriber)

    def _on_probe_returned(self, message: bytes) -> None:
        RedisBroker._on_probe_returned(self, message)
        back, self.back = self.back, None
        if back is not None:
            back.callback(None)


@define(eq=False, repr=False)
class Topics(Channel):
    _by_topic: dict[str, list[bytes]] = field(factory=dict)

    def publish(self, publication: Publication) -> Deferred[None]:
        self._dispatcher.dispatch_live(publication)
        if self._flush_call is None:
            self._flush_call = self._reactor.callLater(0, self._flush)
        said = encode_publication(publication)
        self._by_topic.setdefault(publication.topic, []).append(said)
        self._in_flight += len(said)
        return succeed(None)

    def _flush(self) -> None:
        by_topic, self._by_topic, self._flush_call = self._by_topic, {}, None
        for topic, rows in by_topic.items():
            self._sequence += 1
            message = encode(self._mac_key, self._instance_id, self._sequence, rows)
            said = self._command_connection.protocol.execute_command("PUBLISH", self._of(topic), message)
            said.addBoth(self._on_published, rows, sum(map(len, rows)))

    def _of(self, topic: str) -> bytes:
        return f"{self._channel_prefix}live:{topic}".encode()

    async def _ask_for(self, subscriber: Any) -> None:
        await subscriber.subscribe([*map(self._of, self.topics), self._probe_channel])


@define(eq=False, repr=False)
class Patterns(Topics):
    async def _ask_for(self, subscriber: Any) -> None:
        await subscriber.psubscribe(list(map(self._of, self.topics)))
        await subscriber.subscribe([self._probe_channel])


LANES = {"channel": Channel, "topics": Topics, "patterns": Patterns}


@define(eq=False)
class Ear:
    heard: int = 0

    def deliver(self, delivery: Delivery) -> bool:
        self.heard += 1
        return True


def lane(way: str, topics: Sequence[str]) -> tuple[Channel, Ear]:
    audience, ear = Dispatcher(), Ear()
    for each in topics:
        audience.subscribe(each, ear)
    address = RedisAddress.parse(os.environ["REDIS_URL"])
    made = LANES[way](address, f"{way}:", KEY, audience, reactor, _Unwatched())
    made.topics = topics
    return made, ear


@define(eq=False)
class Publisher:
    """Nobody listens there."""

    _lanes: dict[str, Channel] = field(factory=dict)
    _new_id: Any = field(factory=lambda: Uuid7Generator(time.time))

    async def start(self) -> None:
        for way in LANES:
            self._lanes[way], _ = lane(way, ())
            await self._lanes[way].startService()

    async def publish(self, way: str, count: int, a_turn: int, topics: int) -> dict[str, float]:
        """So many, that many in each turn of the reactor."""
        lane, cpu, begun = self._lanes[way], time.process_time(), time.perf_counter()
        for number in range(count):
            at = time.time()
            said = Publication(self._new_id(), topic(number, topics), CONTENT, {"senderId": "ann"}, "ann", at)
            lane.publish(said)
            if number % a_turn == a_turn - 1:
                await deferLater(reactor, 0)
            if lane._in_flight > MOST_UNDER_WAY:
                await lane._command_connection.protocol.ping()
        await deferLater(reactor, 0)
        await lane._command_connection.protocol.ping()
        return {"cpu": time.process_time() - cpu, "took": time.perf_counter() - begun}


@define(eq=False)
class Subscriber:
    """An instance where somebody listens to the first `topics`."""

    _lane: Any = None
    _ear: Any = None
    _cpu: float = 0.0

    async def listen(self, way: str, topics: int) -> None:
        self._lane, self._ear = lane(way, [f"room.{number}" for number in range(topics)])
        await self._lane.startService()
        self._cpu = time.process_time()

    async def heard(self, count: int) -> dict[str, float]:
        """Once so many were; no more may come."""
        gives_up = time.monotonic() + GIVES_UP
        while self._ear.heard < count and time.monotonic() < gives_up:
            await deferLater(reactor, 0.02)
        if self._ear.heard != count:
            raise SystemExit(f"{self._ear.heard} of {count} were heard")
        return {"cpu": time.process_time() - self._cpu}

    async def again(self) -> dict[str, float]:
        """Lose the connection, and have it back with all its subscriptions."""
        back = self._lane.back = Deferred()
        cpu, begun = time.process_time(), time.perf_counter()
        self._lane._subscriber_connection.abort()
        await back
        now = time.perf_counter()
        return {
            "subscribing": now - self._lane.subscribing,
            "away": now - begun,
            "cpu": time.process_time() - cpu,
        }

    async def leave(self) -> None:
        await self._lane.stopService()


async def serve(role: str) -> None:
    if role == "publisher":
        publisher = Publisher()
        await publisher.start()
        await obey({"publish": publisher.publish})
        return
    ours = Subscriber()
    await obey({name: getattr(ours, name) for name in ("listen", "heard", "again", "leave")})


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument(
        "role", metavar="ROLE", choices=("publisher", "subscriber"), help="which of the two ends"
    )
    role = parser.parse_args().role
    react(lambda _: Deferred.fromCoroutine(serve(role)))
