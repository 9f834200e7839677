"""A whole server in this process, on real ports and a data directory of its own."""

from __future__ import annotations

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from multiproto.config import Config
from multiproto.server import make_service

from .clients import Address, Person

SETTINGS = {
    "PORT": "0",
    "TCP_PORT": "0",
    "METRICS_PORT": "0",
    "BCRYPT_ROUNDS": "4",
    "RATE_LIMIT_MAX": "100000",
}


class LiveCase(TestCase):
    """`self.address` is where the server listens."""

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        self.config = self.configure(Config())
        self.server = make_service(self.config, reactor)
        self.server.privilegedStartService()
        await self.server.startService()
        self.stopped = False
        self.addCleanup(self.stop)
        self.address = Address(*(self.server.port(name) for name in ("http", "tcp", "metrics")))
        await self.asyncSetUp()

    def configure(self, config: Config) -> Config:
        """Free ports, a quick hash, and no limit in a test's way."""
        return evolve(
            config,
            environment="test",
            http=evolve(config.http, port=0),
            tcp=evolve(config.tcp, port=0),
            metrics=evolve(config.metrics, port=0),
            auth=evolve(config.auth, bcrypt_rounds=4),
            rates=evolve(config.rates, most=100_000),
            storage=evolve(config.storage, directory=self.mktemp()),
        )

    async def asyncSetUp(self) -> None:
        """What the subclass needs besides."""

    async def stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            await self.server.stopService()

    async def person(self, name: str) -> Person:
        person = await Person.register(self.address, name)
        self.addCleanup(lambda: Deferred.fromCoroutine(person.leave()))
        return person
