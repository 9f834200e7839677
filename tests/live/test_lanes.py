"""Two instances on one database, of which one is on another Redis than the other."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.config import Config
from tests.proxy import Proxy
from tests.servers import Redis

from ..timing import Stopwatch
from .clients import Rest
from .running import Shared


class OtherRedisTests(Shared):
    """The second instance reaches its Redis by an address that moves."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        self.other = Redis()
        self.addCleanup(self.other.stop)
        self.proxy = Proxy(self.other.port)
        self.proxy.listen()
        self.addCleanup(self.proxy.stop)
        return config

    async def start_one(self, config: Config) -> Any:
        if self.running:
            moving = self.other.url.replace(f":{self.other.port}/", f":{self.proxy.port}/")
            config = evolve(config, redis=evolve(config.redis, url=moving))
        else:
            self.master = config.redis.url
        return await super().start_one(config)

    async def until(self, status: str, what: str) -> None:
        waiting = Stopwatch()
        for address in self.addresses:
            while (await Rest(address).ask("GET", "/health"))[1]["status"] != status:
                await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        waiting.stop(what, 5)

    async def test_both_say_so_and_are_well_again_on_one(self) -> None:
        await self.until("degraded", "another Redis is said")
        ann = await self.person("Ann")
        said = await (await ann.websocket()).ask(type="subscribe", topic="room.1")
        self.assertEqual(said["scope"], "instance", said)
        self.proxy._target = int(str(self.master).rpartition(":")[2].partition("/")[0])
        await self.until("healthy", "the same Redis is said")
