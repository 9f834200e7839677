"""The server under test: the real one, started as users start it, killed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Callable, Mapping, Sequence

from attrs import Factory, define

from .. import ports
from ..disks import Disk
from ..fake_clock import FakeClock
from ..timing import RESCUE
from . import clock_faults, log
from .disk_faults import fill_up
from .health import Health
from .histories import Parting
from .http import Http, Unanswered, Unsent
from .lines import Ports
from .log import Log

TWISTD = "from twisted.scripts.twistd import run; run()"
ROOT = Path(__file__).parents[2]
LOGGED = "ledger"  # first word of the topics that clients publish to and the log keeps


def free_ports() -> Ports:
    return Ports(*ports.free_ports(3))


@define(eq=False)
class Server:
    _directory: Path
    _mutant: str | None = None  # of `mutants`: what this server does wrong
    settings: Mapping[str, str] = Factory(dict)  # beside those that every load has
    before: str = ""  # Python that the process runs first
    clock: FakeClock | None = None  # what it takes for the time of day
    disk: Disk | None = None  # what its database is on
    ports: Ports = Factory(free_ports)
    restarts: list[float] = Factory(list)  # seconds from each start to ready
    complaints: list[str] = Factory(list)  # of what was not well in time
    partings: Sequence[Parting] = ()  # none: nobody replaces its file
    _process: subprocess.Popen[bytes] | None = None

    @property
    def _database(self) -> Path:
        return self._data / "multiproto.db"

    @property
    def _data(self) -> Path:
        return (self.disk.path if self.disk else self._directory) / "data"

    @property
    def health(self) -> Health:
        return Health([self.ports.http], self.complaints)

    @property
    def faults(self) -> Mapping[str, Callable[[], str]]:
        """What can befall it: each returns when all is well again, and says how long what took."""
        faults: dict[str, Callable[[], str]] = {"instance": self._lose}
        if self.clock is not None:
            faults["clock"] = partial(clock_faults.leap, [self.clock], [self.ports.http], self.health)
        if self.disk is not None:
            faults["disk"] = partial(fill_up, self.disk, self.ports.http, self.health, lambda: "")
        return faults

    def _lose(self) -> str:
        self.revive()
        return f"killed; ready again in {self.restarts[-1]:.2f} s"

    def log(self) -> Log:
        return log.from_sqlite(self._database)

    def damage(self) -> str:
        return log.integrity(self._database)

    def start(self) -> None:
        """Returns when it is ready."""
        settings = {
            "PORT": str(self.ports.http),
            "TCP_PORT": str(self.ports.tcp),
            "METRICS_PORT": str(self.ports.metrics),
            "DATA_DIR": str(self._data),
            "NAMESPACES": json.dumps([{"match": f"{LOGGED}.**"}]),
            "BCRYPT_ROUNDS": "4",
            "RATE_LIMIT_MAX": "100000000",
            "RATE_LIMIT_USER_MAX": "100000000",
            "CONNECT_RATE": "1000000/s",
            "LOGIN_RATE_MAX": "100000000",
            "COMMAND_RATE": "1000000/s",
            "PUBLISH_RATE": "1000000/s",
            "CREDENTIAL_PUBLISH_RATE": "1000000/s",
            "BYTE_RATE": "1000000000/s",
            "JWT_EXPIRES_IN": "7d",
            "PYTHONPATH": str(ROOT),
            **self.settings,
            **(self.clock.environment if self.clock else {}),
        }
        mutant = f"from tests.ledger import mutants; mutants.{self._mutant}(); " if self._mutant else ""
        begun = time.monotonic()
        with (self._directory / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", self.before + mutant + TWISTD, "-n", "--pidfile=", "multiproto"],
                env={**os.environ, **settings},
                stdout=output,
                stderr=output,
            )
        while time.monotonic() - begun < RESCUE and self._process.poll() is None:
            with suppress(Unsent, Unanswered):
                if Http(self.ports.http).ask("GET", "/health/ready").status == 200:
                    self.restarts.append(time.monotonic() - begun)
                    return
            time.sleep(0.02)
        self.kill()
        raise SystemExit(f"the server is not ready; see {self._directory}/server.log")

    def kill(self) -> None:
        """SIGKILL: it can do nothing more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def clean_up(self) -> None:
        """For good."""
        self.kill()
        if self.disk is not None:
            self.disk.unmount(keep=self._directory / "disk")

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def revive(self) -> None:
        """As an operator would, where it does not get well by itself."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(RESCUE)
