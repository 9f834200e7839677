"""Whole servers in this process, on real ports: one that is embedded, or several that share a database."""

from __future__ import annotations

import contextlib  # trial takes a `suppress` of this module for its own
import time
from typing import Any, Sequence

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from multiproto.config import Config
from multiproto.core.pubsub import log_freshness
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.server import NamedServices, make_service
from multiproto.storage.postgresql import writer
from multiproto.wire import WireFactory
from multiproto.wire_table import WIRES
from tests import canary
from tests.servers import needs, postgresql, redis

from ..timing import RESCUE, TEST_RESCUE
from .clients import Address, Person
from .operators import look_over

SETTINGS = {
    "PORT": "0",
    "TCP_PORT": "0",
    "METRICS_PORT": "0",
    "BCRYPT_ROUNDS": "4",
    "RATE_LIMIT_MAX": "100000",
    "RATE_LIMIT_USER_MAX": "100000",
    "CONNECT_RATE": "100000/s",
}


class LiveCase(TestCase):
    """`self.address` is where the server listens; `self.addresses`, where each of its `instances` does."""

    timeout = TEST_RESCUE
    instances = 1
    wires: Sequence[WireFactory] = WIRES  # the protocols that each serves
    reached: dict[str, Any] = {}  # by what host and authority, where those are not the usual

    def setUp(self) -> Deferred[None]:
        # On a busy machine a server reads its log too seldom to serve, and says so; that is not what is tested here.
        self.patch(log_freshness, "STALE_AFTER", RESCUE)
        self.patch(writer, "WRITE_TIMEOUT", RESCUE)
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.addresses: list[Address] = []
        self.running: list[NamedServices] = []
        config = self.configure(Config())
        self.addCleanup(self.stop)
        for _ in range(self.instances):
            await self.start_one(config)
        self.server, self.address, self.config = self.running[0], self.addresses[0], config
        self._people = 0
        await self.asyncSetUp()

    async def start_one(self, config: Config) -> NamedServices:
        server = make_service(config, reactor, wires=self.wires, now=lambda: self.now())
        self.running.append(server)
        await deferToThread(server.getServiceNamed("store").open)  # a proxy of the test's needs this thread
        server.privilegedStartService()
        await server.startService()
        ports = (server.port_number(name) for name in ("http", "tcp", "metrics"))
        self.addresses.append(Address(*ports, **self.reached))
        return server

    def configure(self, config: Config) -> Config:
        """Free ports, a quick hash, and no limit in a test's way."""
        return evolve(
            config,
            environment="test",
            http=evolve(config.http, port=0),
            tcp=evolve(config.tcp, port=0),
            metrics=evolve(config.metrics, port=0),
            auth=evolve(config.auth, bcrypt_rounds=4, jwt_secret=canary.SECRET),
            rate_limits=evolve(
                config.rate_limits,
                max_requests=100_000,
                max_user_requests=100_000,
                connect_rate=Rate(100_000, 100_000),
            ),
            storage=evolve(config.storage, directory=self.mktemp()),
        )

    def now(self) -> float:
        """The time of day, as the servers see it."""
        return time.time()

    async def asyncSetUp(self) -> None:
        """What the subclass needs besides."""

    async def told_everywhere(self) -> None:
        """Returns once every instance has told what is in the log now."""
        for server in self.running:
            store, follower = server.getServiceNamed("store"), server.getServiceNamed("follower")
            head, _ = await store.head()
            while follower._dispatcher.position < head:
                await deferLater(reactor, 0.005)

    async def stop(self) -> None:
        for address in self.addresses:
            with contextlib.suppress(ConnectError):  # the test has stopped it
                await look_over(address)
        while self.running:
            await self.running.pop().stopService()

    def place(self) -> Any:
        """Where a person is: each next one on the next instance."""
        self._people += 1
        return self.addresses[(self._people - 1) % len(self.addresses)]

    async def person(self, name: str) -> Person:
        person = await Person.register(self.place(), name)
        self.addCleanup(lambda: Deferred.fromCoroutine(person.leave()))
        return person


@needs("postgresql", "redis")
class Shared(LiveCase):
    """Two instances on one PostgreSQL and one Redis."""

    instances = 2
    # Whether shared limits wait for Redis however busy the machine is; else each instance counts alone, as it should.
    waits_for_redis = False

    async def start_one(self, config: Config) -> NamedServices:
        server = await super().start_one(config)
        if self.waits_for_redis:
            client = server.getServiceNamed("shared-limits").client
            client._call_timeout = RESCUE
            while not client.connections:
                await deferLater(reactor, 0.005)
        return server

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)
        return evolve(
            config,
            storage=evolve(config.storage, url=self.database),
            redis=evolve(config.redis, url=redis().url, prefix=f"{self.id()}:"),
        )
