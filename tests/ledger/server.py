"""The server under test: the real one, started as users start it, killed and started again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Mapping

from attrs import Factory, define

from .. import ports
from ..timing import RESCUE
from . import log
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
    ports: Ports = Factory(free_ports)
    restarts: list[float] = Factory(list)  # seconds from each start to ready
    _process: subprocess.Popen[bytes] | None = None

    @property
    def _database(self) -> Path:
        return self._directory / "data" / "multiproto.db"

    @property
    def faults(self) -> Mapping[str, Callable[[], str]]:
        """What can befall it: each returns when all is well again, and says how long what took."""
        return {"instance": self._lose}

    def _lose(self) -> str:
        self.kill()
        self.start()
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
            "DATA_DIR": str(self._directory / "data"),
            "NAMESPACES": json.dumps([{"match": f"{LOGGED}.**"}]),
            "BCRYPT_ROUNDS": "4",
            "RATE_LIMIT_MAX": "100000000",
            "CONNECT_RATE": "1000000/s",
            "COMMAND_RATE": "1000000/s",
            "PUBLISH_RATE": "1000000/s",
            "CREDENTIAL_PUBLISH_RATE": "1000000/s",
            "BYTE_RATE": "1000000000/s",
            "JWT_EXPIRES_IN": "7d",
            "PYTHONPATH": str(ROOT),
            **self.settings,
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
            try:
                if Http(self.ports.http).ask("GET", "/health/ready").status == 200:
                    self.restarts.append(time.monotonic() - begun)
                    return
            except (Unsent, Unanswered):
                time.sleep(0.02)
        self.kill()
        raise SystemExit(f"the server is not ready; see {self._directory}/server.log")

    def kill(self) -> None:
        """SIGKILL: it can do nothing more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """SIGTERM, as an operator would."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(RESCUE)
