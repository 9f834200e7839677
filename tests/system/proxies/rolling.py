"""A rolling restart behind nginx, as docs/instances.md describes it: no client is told of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests import canary
from tests.certificates import make
from tests.live.clients import Address, Person
from tests.live.test_twistd import STOPPED, Started, TwistdCase
from tests.servers import needs, postgresql, redis

from .documented import Nginx, Upstream, fail_timeout

NAME = "localhost"
PAUSE = 0.01  # seconds between two requests of a client
CLIENTS = 4


@needs("postgresql", "redis")
class RollingTests(TwistdCase):
    timeout = 300

    def start_instance(self, address: Address | None = None) -> Started:
        return self.start(
            address=address,
            DATABASE_URL=self.database,
            REDIS_URL=redis().url,
            PUBSUB_REDIS_PREFIX=f"{self.id()}:",
            JWT_SECRET=canary.SECRET,
            TRUSTED_PROXIES="127.0.0.1",
            RATE_LIMIT_MAX="1000000",
            PUBLISH_RATE="none",
        )

    async def test_no_request_fails(self) -> None:
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)
        instances = [await self.start_instance().ready() for _ in range(2)]
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        files = make(directory, NAME)
        upstreams = [Upstream(each.address.http, each.address.tcp) for each in instances]
        nginx = Nginx(directory / "nginx", files, upstreams)
        await nginx.start()
        self.addCleanup(nginx.program.kill)
        ann = await Person.register(Address(nginx.http, nginx.tcp, 0, NAME, files.authority), "ann")
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.is_over = False
        clients = [
            Deferred.fromCoroutine(self.go_on(ann, *request))
            for request in (("GET", "/api/v1/auth/me"), ("POST", "/api/v1/topics/room.1", {"data": 1}))
            * CLIENTS
        ]
        for number, instance in enumerate(instances):
            instance.program.signal("TERM")
            self.assertEqual(await instance.program.ended, STOPPED, instance.output)
            instances[number] = await self.start_instance(instance.address).ready()
            await deferLater(reactor, fail_timeout())  # type: ignore[arg-type]
        self.is_over = True
        for client in clients:
            await client
        self.assertEqual(set(self.statuses), {("GET", 200), ("POST", 202)}, self.statuses)
        print(f"{sum(self.statuses.values())} requests, none failed")

    async def go_on(self, ann: Person, method: str, path: str, body: Any = None) -> None:
        """Send the same request again and again, until it is over."""
        while not self.is_over:
            status, _ = await ann.rest.ask(method, path, body)
            self.statuses[method, status] += 1
            await deferLater(reactor, PAUSE)  # type: ignore[arg-type]
