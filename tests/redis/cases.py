"""A real Redis, and lanes on it."""

from __future__ import annotations

import re
import time
from typing import Any, Callable

from attrs import Factory, define
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import TestCase

from multiproto.broker import redis as broker
from multiproto.broker.redis import RedisBroker
from multiproto.broker.redis_codec import BrokerMacKey
from multiproto.core.protocol import Delivery
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.transactions import Publication
from multiproto.redis import connection
from multiproto.redis.address import RedisAddress
from tests.servers import Redis, needs, redis
from tests.timing import RESCUE, TEST_RESCUE

KEY = BrokerMacKey.from_secret("a secret that all instances share")


@define(eq=False)
class Ear:
    """Hears everything."""

    heard: list[Delivery] = Factory(list)

    def deliver(self, delivery: Delivery) -> bool:
        self.heard.append(delivery)
        return True

    @property
    def contents(self) -> list[object]:
        return [delivery.content for delivery in self.heard]


@define(eq=False)
class Seen:
    """What a lane told its metrics."""

    drops: int = 0
    foreign: int = 0
    probes: list[float] = Factory(list)

    def on_dropped(self) -> None:
        self.drops += 1

    def on_malformed(self) -> None:
        self.foreign += 1

    def on_probed(self, seconds: float) -> None:
        self.probes.append(seconds)


@define(eq=False)
class Instance:
    lane: RedisBroker
    ear: Ear
    seen: Seen


@needs("redis")
class RedisCase(TestCase):
    timeout = TEST_RESCUE
    # With a Redis that is slow to answer, as on a busy machine: it would be taken for a dead one, and what is
    # published meanwhile would not reach the others, as it should be.
    is_patient = False

    def setUp(self) -> None:
        if self.is_patient:
            self.patch(broker, "PROBE_INTERVAL", RESCUE)
            self.patch(connection, "REPLY_TIMEOUT", RESCUE)
        self.server = self.use_server()
        self.prefix = f"{self.id()}:"

    def use_server(self) -> Redis:
        return redis()

    async def instance(self, address: RedisAddress | None = None, key: BrokerMacKey = KEY) -> Instance:
        """One that has reached its Redis, however long that takes: a start waits for some time only."""
        made = self.make(address, key)
        await made.lane.startService()
        await self.until(lambda: made.lane.up)
        return made

    async def refused_instance(self, why: str, address: RedisAddress | None = None) -> Instance:
        """One that can't use its Redis, once its reason has a match of `why`."""
        made = self.make(address)
        await made.lane.startService()
        await self.until(lambda: re.search(why, made.lane._down_reason()))
        self.assertFalse(made.lane.up)
        return made

    def make(self, address: RedisAddress | None = None, key: BrokerMacKey = KEY) -> Instance:
        audience, ear, seen = Dispatcher(), Ear(), Seen()
        audience.subscribe("**", ear)
        lane = RedisBroker(
            address or RedisAddress.parse(self.server.url), self.prefix, key, audience, reactor, seen
        )
        self.addCleanup(lambda: lane.running and lane.stopService())
        return Instance(lane, ear, seen)

    def broker_lines(self) -> list[str]:
        """What brokers log from now on, as it comes."""
        lines: list[str] = []

        def observe(event: Any) -> None:
            if event.get("log_namespace") == "multiproto.broker.redis.RedisBroker":
                lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return lines

    async def until(self, holds: Callable[[], Any]) -> float:
        """Seconds until `holds()`; fails when it never does."""
        begun = time.monotonic()
        while not holds():
            self.assertLess(time.monotonic() - begun, RESCUE)
            await deferLater(reactor, 0.005)
        return time.monotonic() - begun


def said(number: int, content: object = None) -> Publication:
    return Publication(f"p{number}", "room.1", content or number, {"senderId": "ann"}, "ann", 1.5)
