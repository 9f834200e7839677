"""Several instances on one PostgreSQL and one Redis, behind one address."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path
from typing import Callable, Mapping

from attrs import define, field

from tests.canary import SECRET
from tests.servers import HOST, Postgres, Redis, free_port

from . import log, postgresql_faults, redis_faults
from .health import Health
from .lines import Ports
from .log import Log
from .network_process import Network
from .server import Server, free_ports


@define(eq=False)
class Fleet:
    """What a load needs of a server, of several that nobody can tell apart."""

    _directory: Path
    _random: random.Random
    _count: int = 2
    _database_moves: bool = False  # instances reach PostgreSQL through a port that can lead elsewhere
    ports: Ports = field(factory=free_ports)
    restarts: list[float] = field(factory=list)  # seconds from each start to ready
    postgres: Postgres = field(factory=Postgres, init=False)
    redis: Redis = field(factory=Redis, init=False)
    network: Network = field(factory=Network, init=False)
    redis_ways: dict[str, int] = field(factory=dict, init=False)  # name -> port, of each instance its own
    instances: list[Server] = field(factory=list, init=False)
    _database: str = field(default="", init=False)

    def start(self) -> None:
        self._database = self.postgres.new_database().rpartition("/")[2]
        database_way = free_port() if self._database_moves else self.postgres.port
        for number in range(self._count):
            directory = self._directory / f"instance-{number}"
            directory.mkdir()
            way = free_port()
            settings = {
                "DATABASE_URL": self._database_url(database_way),
                "REDIS_URL": f"redis://127.0.0.1:{way}/0",
                "JWT_SECRET": SECRET,
            }
            self.redis_ways[f"redis-{number}"] = way
            self.instances.append(Server(directory, None, settings=settings, restarts=self.restarts))
        ways = {name: (way, self.redis.port) for name, way in self.redis_ways.items()}
        if self._database_moves:
            ways[postgresql_faults.WAY] = (database_way, self.postgres.port)
        self.network.start(
            balance=[
                (self.ports.http, [each.ports.http for each in self.instances]),
                (self.ports.tcp, [each.ports.tcp for each in self.instances]),
            ],
            ways=ways,
        )
        for each in self.instances:
            each.start()

    def stop(self) -> None:
        for each in self.instances:
            each.stop()

    def kill(self) -> None:
        for each in self.instances:
            each.kill()
        self.network.kill()
        self.postgres.stop()
        self.redis.stop()

    @property
    def health(self) -> Health:
        return Health([each.ports.http for each in self.instances], self._directory)

    def log(self) -> Log:
        return log.from_postgresql(self._database_url(self.postgres.port))

    def _database_url(self, port: int) -> str:
        return f"postgresql://multiproto:{self.postgres.password}@{HOST}:{port}/{self._database}"

    def damage(self) -> str:
        """PostgreSQL checks its pages as it reads them."""
        return "ok"

    @property
    def faults(self) -> Mapping[str, Callable[[], str]]:
        """What can befall it: each returns when all is well again, and says how long what took."""
        return {name: partial(fault, self) for name, fault in FAULTS.items()}

    def lose_an_instance(self) -> str:
        one = self._random.choice(self.instances)
        one.kill()
        one.start()
        return f"killed one instance; ready again in {self.restarts[-1]:.2f} s"

    def roll(self) -> str:
        """One after the other is stopped as an operator would, and started again."""
        begun = time.monotonic()
        for each in self.instances:
            each.stop()
            each.start()
        return f"restarted every instance in turn in {time.monotonic() - begun:.2f} s"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    "instance": Fleet.lose_an_instance,
    "rolling": Fleet.roll,
    **redis_faults.FAULTS,
    **postgresql_faults.FAULTS,
}
