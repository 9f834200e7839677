"""A real server in a process of its own, with a user to publish as."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import randrange
from typing import Any, Mapping
from urllib.request import Request, urlopen

from attrs import define, field

HOST = "127.0.0.1"
TOPIC = "bench.durable"
READY_WITHIN = 20.0  # seconds
TWISTD = "from twisted.scripts.twistd import run; run()"
# The same server with one commit, and so one sync, for each write.
UNGROUPED = """
from functools import partial
from multiproto.storage.sqlite import wiring
wiring.SqliteStore = partial(wiring.SqliteStore, max_batch=1)
"""
ANN = {"email": "ann@example.org", "name": "Ann", "password": "Passw0rd!"}


def free_ports(count: int) -> list[int]:
    """Below those that the system gives to clients, of which there may be tens of thousands."""
    found: list[int] = []
    while len(found) < count:
        port = randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server((HOST, port)):
            found.append(port)
    return found


def cpu_of(pid: int) -> float:
    """Seconds that a process has computed, in all its threads (proc(5): utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_with_children(pid: int) -> float:
    """The same with all its living children: PostgreSQL has one for each connection."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return cpu_of(pid) + sum(cpu_of(int(child)) for child in children)


@define(eq=False)
class Server:
    directory: Path
    grouped: bool = True
    settings: Mapping[str, str] = field(factory=dict)  # beside those that each has
    http: int = field(init=False)
    tcp: int = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Returns when it is ready."""
        self.directory.mkdir()
        self.http, self.tcp = free_ports(2)
        settings = {
            "PORT": str(self.http),
            "TCP_PORT": str(self.tcp),
            "METRICS_ENABLED": "false",
            "DATA_DIR": str(self.directory / "data"),
            "NAMESPACES": json.dumps([{"match": "bench.**"}]),
            "BCRYPT_ROUNDS": "4",
            "TCP_MAX_CONNECTIONS_PER_IP": "10000",
            "RATE_LIMIT_MAX": "1000000",
            "RATE_LIMIT_USER_MAX": "1000000",
            "CONNECT_RATE": "1000000/s",
            "COMMAND_RATE": "1000000/s",
            "PUBLISH_RATE": "1000000/s",
            "CREDENTIAL_PUBLISH_RATE": "1000000/s",
            "BYTE_RATE": "1000000000/s",
            "JWT_EXPIRES_IN": "1h",
            "LOG_LEVEL": "warn",
            **self.settings,
        }
        program = TWISTD if self.grouped else UNGROUPED + TWISTD
        with (self.directory / "server.log").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program, "--nodaemon", "--pidfile=", "multiproto"],
                env={**os.environ, **settings},
                stdout=output,
                stderr=output,
            )
        gives_up = time.monotonic() + READY_WITHIN
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > gives_up:
                raise SystemExit(f"no server: {(self.directory / 'server.log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def token(self) -> str:
        self._ask("/api/v1/auth/register", ANN)
        return str(self._ask("/api/v1/auth/login", ANN)["data"]["token"])

    def cpu(self) -> float:
        """Seconds that the process has computed, in all its threads."""
        return cpu_of(self._process.pid)

    def _ready(self) -> bool:
        try:
            return bool(urlopen(f"http://{HOST}:{self.http}/health/ready").status == 200)
        except OSError:
            return False

    def _ask(self, path: str, fields: dict[str, str]) -> Any:
        body = json.dumps(fields).encode()
        request = Request(f"http://{HOST}:{self.http}{path}", body, {"Content-Type": "application/json"})
        return json.load(urlopen(request))
