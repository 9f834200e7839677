"""Several instances on one PostgreSQL and one Redis, behind one address; and all that can befall them."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Mapping

from attrs import define, field

from tests.canary import SECRET
from tests.servers import HOST, Postgres, Redis, free_port

from . import log
from .http import Http, Unanswered, Unsent
from .lines import Ports
from .log import Log
from .server import ROOT, Server, free_ports

HEALED_WITHIN = 5.0  # seconds after a fault is over (docs/guarantees.md#g10-degrade-do-not-die)
NOTICED_WITHIN = 3.0  # seconds
DATABASE_DOWN = 1.5  # seconds
REDIS_DOWN = 2.0
SILENT = 3.0


@define(eq=False)
class Fleet:
    """What a load needs of a server, of several that nobody can tell apart."""

    _directory: Path
    _random: random.Random
    _count: int = 2
    ports: Ports = field(factory=free_ports)
    restarts: list[float] = field(factory=list)  # seconds from each start to ready
    _postgres: Postgres = field(factory=Postgres, init=False)
    _redis: Redis = field(factory=Redis, init=False)
    _instances: list[Server] = field(factory=list, init=False)
    _network: subprocess.Popen[str] | None = field(default=None, init=False)
    _database: str = field(default="", init=False)

    def start(self) -> None:
        self._database = self._postgres.new_database()
        through = free_port()
        for number in range(self._count):
            directory = self._directory / f"instance-{number}"
            directory.mkdir()
            shared = {
                "DATABASE_URL": self._database,
                "REDIS_URL": f"redis://127.0.0.1:{through}/0",
                "JWT_SECRET": SECRET,
            }
            self._instances.append(Server(directory, None, settings=shared, restarts=self.restarts))
        plan = {
            "balance": [
                [self.ports.http, [each.ports.http for each in self._instances]],
                [self.ports.tcp, [each.ports.tcp for each in self._instances]],
            ],
            "redis": [through, self._redis.port],
        }
        command = [sys.executable, "-m", "tests.ledger.network", json.dumps(plan)]
        self._network = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._network.stdout is not None and self._network.stdout.readline() == "ready\n"
        for each in self._instances:
            each.start()

    def stop(self) -> None:
        for each in self._instances:
            each.stop()

    def kill(self) -> None:
        for each in self._instances:
            each.kill()
        if self._network is not None:
            self._network.kill()
            self._network.wait()
        self._postgres.stop()
        self._redis.stop()

    def log(self) -> Log:
        return log.from_postgresql(self._database)

    def damage(self) -> str:
        """PostgreSQL checks its pages as it reads them."""
        return "ok"

    # What can befall them; each returns when all is well again, and says how long what took.

    @property
    def faults(self) -> Mapping[str, Callable[[], str]]:
        return {
            "instance": self._lose_an_instance,
            "postgresql": self._lose_the_database,
            "redis": self._lose_redis,
            "flushall": self._flush,
            "silence": self._silence,
            "rolling": self._roll,
        }

    def _lose_an_instance(self) -> str:
        one = self._random.choice(self._instances)
        one.kill()
        one.start()
        return f"killed one instance; ready again in {self.restarts[-1]:.2f} s"

    def _lose_the_database(self) -> str:
        self._postgres.kill()
        gone = time.monotonic()
        refused = self._until("unhealthy", NOTICED_WITHIN)
        time.sleep(max(0.0, gone + DATABASE_DOWN - time.monotonic()))
        self._postgres.start()
        return f"killed PostgreSQL; noticed in {refused:.2f} s, well {self._healed():.2f} s after it was back"

    def _lose_redis(self) -> str:
        self._redis.kill()
        noticed = self._until("degraded", NOTICED_WITHIN)
        time.sleep(REDIS_DOWN)
        self._redis.start()
        return f"killed Redis; noticed in {noticed:.2f} s, well {self._healed():.2f} s after it was back"

    def _flush(self) -> str:
        with socket.create_connection((HOST, self._redis.port), 5) as connection:
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(100) == b"+OK\r\n"
        return "FLUSHALL"

    def _silence(self) -> str:
        self._order("silence")
        noticed = self._until("degraded", NOTICED_WITHIN)
        time.sleep(SILENT)
        self._order("speak")
        return f"swallowed what goes through Redis; noticed in {noticed:.2f} s, well {self._healed():.2f} s after"

    def _roll(self) -> str:
        """One after the other is stopped as an operator would, and started again."""
        begun = time.monotonic()
        for each in self._instances:
            each.stop()
            each.start()
        return f"restarted every instance in turn in {time.monotonic() - begun:.2f} s"

    def _order(self, word: str) -> None:
        assert self._network is not None
        print(word, file=self._network.stdin, flush=True)

    def _healed(self) -> float:
        return self._until("healthy", HEALED_WITHIN)

    def _until(self, status: str, within: float) -> float:
        """Seconds until every instance says `status` of itself."""
        begun = time.monotonic()
        for each in self._instances:
            while _status(each.ports.http) != status:
                if time.monotonic() - begun > within:
                    raise SystemExit(f"not {status} within {within} s; see {self._directory}")
                time.sleep(0.02)
        return time.monotonic() - begun


def _status(port: int) -> str:
    try:
        return str(Http(port).ask("GET", "/health").body["status"])
    except (Unsent, Unanswered):
        return ""
