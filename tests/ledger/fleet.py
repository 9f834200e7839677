"""Several instances on one PostgreSQL and one Redis, behind one address."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Callable, Mapping, Sequence

from attrs import define, field

from tests.canary import SECRET
from tests.disks import Disk
from tests.fake_clock import FakeClock
from tests.servers import HOST, Postgres, Redis, free_port

from . import clock_faults, halt_faults, history_faults, log, postgresql_faults, redis_faults
from .disk_faults import fill_up
from .health import Health
from .histories import Parting
from .keepsakes import Keepsakes
from .lines import Ports
from .log import Log
from .logouts import Logout
from .network_process import Network
from .server import LOGGED, Server, free_ports


@define(eq=False)
class Fleet:
    """What a load needs of a server, of several that nobody can tell apart."""

    directory: Path
    random: Random
    _count: int = 2
    _database_moves: bool = False  # instances reach PostgreSQL through a port that can lead elsewhere
    settings: Mapping[str, str] = field(factory=dict)  # of every instance, beside those that every load has
    before: str = ""  # Python that each runs first
    _has_clocks: bool = False  # each has a time of day of its own
    disk: Disk | None = None  # what the database is on
    _prunes: bool = False  # what is pruned is kept elsewhere, to be compared
    _mutant: str | None = None  # what each does wrong
    ports: Ports = field(factory=free_ports)
    restarts: list[float] = field(factory=list)  # seconds from each start to ready
    complaints: list[str] = field(factory=list)  # of what was not well in time
    partings: list[Parting] = field(factory=list)  # in the order in which the log went back
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
        database_ways: dict[str, tuple[int, int]] = {}
        for number in range(self._count):
            directory = self.directory / f"instance-{number}"
            directory.mkdir()
            way, database_port = free_port(), self.postgres.port
            if self._database_moves:
                database_port = free_port()
                database_ways[_database_way(number)] = database_port, self.postgres.port
            settings = {
                "DATABASE_URL": self._url(database_port),
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
        self.network.start(
            balance=[
                (self.ports.http, [each.ports.http for each in self.instances]),
                (self.ports.tcp, [each.ports.tcp for each in self.instances]),
            ],
            ways=ways | database_ways,
        )
        first, *others = self.instances
        first.start()
        if self._prunes:
            halt_faults.begin_archive(self.database_url)
        for each in others:
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
        return Health(self._http_ports, self.complaints)

    @property
    def _http_ports(self) -> Sequence[int]:
        return [each.ports.http for each in self.instances]

    def lead(self, instance: int, port: int) -> None:
        """From here on that instance finds PostgreSQL there; the connections that it still has end."""
        self.network.order("move", _database_way(instance), port)
        self.network.order("cut", _database_way(instance))

    def prepare_logout(self) -> Logout:
        return Logout.prepare([each.ports for each in self.instances], self.complaints)

    def take_keepsakes(self, instance: Server) -> Keepsakes:
        return Keepsakes.take(instance.ports.http, self.directory, self.complaints)

    def revive(self) -> None:
        """As an operator would, where it does not get well by itself."""
        for each in self.instances:
            each.revive()

    def log(self) -> Log:
        if self._prunes:
            pruned = halt_faults.namespace(LOGGED)
            return log.from_archive(self.database_url, halt_faults.ARCHIVE, pruned, halt_faults.KEPT)
        return log.from_postgresql(self.database_url)

    @property
    def database_url(self) -> str:
        return self.database_url_on(self.postgres)

    def database_url_on(self, server: Postgres) -> str:
        return self._url(server.port)

    def _url(self, port: int) -> str:
        return f"postgresql://multiproto:{self.postgres.password}@{HOST}:{port}/{self._database}"

    def damage(self) -> str:
        """PostgreSQL checks its pages as it reads them."""
        return "ok"

    def _set_clocks(self, instances: Sequence[Server]) -> str:
        ports = [each.ports.http for each in instances]
        clocks = [each.clock for each in instances if each.clock is not None]
        return clock_faults.leap(clocks, ports, Health(ports, self.complaints))

    def set_a_clock(self) -> str:
        return self._set_clocks([self.random.choice(self.instances)])

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
        one = self.random.choice(self.instances)
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


def _database_way(instance: int) -> str:
    """From that instance to PostgreSQL."""
    return f"postgresql-{instance}"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    "instance": Fleet.lose_an_instance,
    "rolling": Fleet.roll,
    "clock": Fleet.set_a_clock,
    "clocks": Fleet.set_all_clocks,
    "disk": Fleet.fill_the_disk,
    **clock_faults.FAULTS,
    **redis_faults.FAULTS,
    **postgresql_faults.FAULTS,
    **history_faults.FAULTS,
    **halt_faults.FAULTS,
}
