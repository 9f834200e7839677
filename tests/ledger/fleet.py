"""Several instances on one PostgreSQL and one Redis, behind one address."""

from __future__ import annotations

import random
import time
from functools import partial
from pathlib import Path
from typing import Callable, Mapping, Sequence

from attrs import define, field

from tests.canary import SECRET
from tests.disks import Disk
from tests.fake_clock import FakeClock
from tests.servers import HOST, Postgres, Redis, free_port

from . import clock_faults, log, postgresql_faults, redis_faults
from .disk_faults import fill_up
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
    settings: Mapping[str, str] = field(factory=dict)  # of every instance, beside those that every load has
    before: str = ""  # Python that each runs first
    _has_clocks: bool = False  # each has a time of day of its own
    disk: Disk | None = None  # what the database is on
    _mutant: str | None = None  # what each does wrong
    ports: Ports = field(factory=free_ports)
    restarts: list[float] = field(factory=list)  # seconds from each start to ready
    postgres: Postgres = field(init=False)
    redis: Redis = field(factory=Redis, init=False)
    network: Network = field(factory=Network, init=False)
    redis_ways: dict[str, int] = field(factory=dict, init=False)  # name -> port, of each instance its own
    instances: list[Server] = field(factory=list, init=False)
    _database: str = field(default="", init=False)

    @postgres.default
    def _make_postgres(self) -> Postgres:
        return Postgres(within=self.disk.path if self.disk else None)

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
                **self.settings,
            }
            self.redis_ways[f"redis-{number}"] = way
            clock = FakeClock.make(directory) if self._has_clocks else None
            self.instances.append(
                Server(
                    directory,
                    self._mutant,
                    settings=settings,
                    before=self.before,
                    clock=clock,
                    restarts=self.restarts,
                )
            )
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

    def clean_up(self) -> None:
        """For good."""
        self.kill()
        self.network.kill()
        self.redis.stop()
        self.postgres.stop()
        if self.disk is not None:
            self.disk.unmount()

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

    def _set_clocks(self, instances: Sequence[Server]) -> str:
        ports = [each.ports.http for each in instances]
        clocks = [each.clock for each in instances if each.clock is not None]
        return clock_faults.leap(clocks, ports, Health(ports, self._directory))

    def set_a_clock(self) -> str:
        return self._set_clocks([self._random.choice(self.instances)])

    def set_all_clocks(self) -> str:
        return self._set_clocks(self.instances)

    def fill_the_disk(self) -> str:
        assert self.disk is not None
        return fill_up(self.disk, self.instances[0].ports.http, self.health, self._revive_the_database)

    def _revive_the_database(self) -> str:
        """It may have ended of the full disk; what keeps services running starts it again."""
        if not self.postgres.has_ended:
            return ""
        self.postgres.kill()
        self.postgres.start()
        return "PostgreSQL had ended and was started; "

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
    "clock": Fleet.set_a_clock,
    "clocks": Fleet.set_all_clocks,
    "disk": Fleet.fill_the_disk,
    **redis_faults.FAULTS,
    **postgresql_faults.FAULTS,
}
