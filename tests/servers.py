"""Private PostgreSQL and Redis servers for tests: the real programs, on free ports, in temporary directories.

`python -m tests.servers` sees to it that their programs are there: found by
`MULTIPROTO_POSTGRESQL_BIN` (a directory) and `MULTIPROTO_REDIS_SERVER` (a
file), on the path, where Debian puts them, or installed as Debian's packages.
A server that can't be had fails the tests that need it, unless
`MULTIPROTO_TEST_WITHOUT=postgresql,redis` names it.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, Callable, Sequence, TypeVar

import psycopg

HOST = "127.0.0.1"
UP_WITHIN = 30.0  # seconds
INSTALL_WITHIN = 300  # seconds
NAMES = {"postgresql": "postgres", "redis": "redis-server"}  # and their programs
ADVICE = (
    "install Debian's packages postgresql and redis-server, or name the programs in MULTIPROTO_POSTGRESQL_BIN "
    "and MULTIPROTO_REDIS_SERVER, or go without in MULTIPROTO_TEST_WITHOUT=postgresql,redis"
)

Case = TypeVar("Case", bound=type)


class Missing(Exception):
    """A program is not on this machine."""


def free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


def without() -> set[str]:
    """What the person who runs the tests does without."""
    return {name.strip() for name in os.environ.get("MULTIPROTO_TEST_WITHOUT", "").split(",")} - {""}


def needs(*names: str) -> Callable[[Case], Case]:
    """A test case that is skipped only where somebody asked for that; else a missing server fails it."""

    def marked(case: Case) -> Case:
        left_out = sorted(without().intersection(names))
        if left_out:
            case.skip = f"MULTIPROTO_TEST_WITHOUT={','.join(left_out)}"
        return case

    return marked


# Where the programs are.


def postgresql_bin() -> Path:
    """The directory of `initdb` and `postgres`.  Raises `Missing`."""
    named = os.environ.get("MULTIPROTO_POSTGRESQL_BIN")
    found = shutil.which("postgres")
    homes = [Path(named)] if named else []
    homes += [Path(found).resolve().parent] if found and not named else []
    homes += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True) if not named else []
    for home in homes:
        if (home / "postgres").exists() and (home / "initdb").exists():
            return home
    raise Missing(f"no PostgreSQL server on this machine: {ADVICE}")


def redis_server() -> str:
    """Raises `Missing`."""
    found = shutil.which(os.environ.get("MULTIPROTO_REDIS_SERVER") or "redis-server")
    if found is None:
        raise Missing(f"no Redis server on this machine: {ADVICE}")
    return found


# The servers.


def _die_with_parent() -> None:
    """In the child: a killed test run leaves no server behind (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    """One program in a directory of its own, on a port that stays the same when it is started again."""

    def __init__(self, name: str, owner: str | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self.owner = owner
        if owner is not None:
            shutil.chown(self.directory, owner)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self.owner,
                preexec_fn=_die_with_parent,
            )
        give_up = time.monotonic() + UP_WITHIN
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"did not start: {(self.directory / 'log').read_text()[-1000:]}")
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """For good."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.stop)


class Postgres(Server):
    """With a password, as users have it; `fsync` is as it is in life unless a test wants to be quick."""

    def __init__(self, fsync: bool = True) -> None:
        self._bin = postgresql_bin()
        super().__init__("postgresql", _somebody())
        self._fsync = fsync
        self.password = secrets.token_hex(12)
        file = self.directory / "password"
        file.write_text(self.password)
        if self.owner is not None:
            shutil.chown(file, self.owner)
        initdb = [str(self._bin / "initdb"), "-D", str(self.directory / "data"), "-U", "multiproto"]
        initdb += ["--auth=scram-sha-256", f"--pwfile={file}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, cwd="/", user=self.owner, check=True, stdout=subprocess.DEVNULL)
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://multiproto:{self.password}@{HOST}:{self.port}/postgres"

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": str(self.directory),
            "max_connections": "200",
            "fsync": "on" if self._fsync else "off",
        }
        chosen = [f"--{name}={value}" for name, value in settings.items()]
        return [
            str(self._bin / "postgres"),
            "-D",
            str(self.directory / "data"),
            "-p",
            str(self.port),
            *chosen,
        ]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def new_database(self, options: str = "") -> str:
        """The address of an empty one, made with these `options` of CREATE DATABASE."""
        name = f"test_{secrets.token_hex(8)}"
        self._do(f"CREATE DATABASE {name} {options}")
        return self.url.replace(f"{self.port}/postgres", f"{self.port}/{name}")

    def drop(self, url: str) -> None:
        if self._process is not None:
            self._do(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


class Redis(Server):
    """Keeps nothing on disk; `options` are lines of its configuration file."""

    def __init__(self, *options: str) -> None:
        self._program = redis_server()
        super().__init__("redis")
        lines = [f"bind {HOST}", 'save ""', "appendonly no", f"dir {self.directory}", *options]
        if not any(line.startswith(("port ", "tls-port ")) for line in options):
            lines.append(f"port {self.port}")
        (self.directory / "redis.conf").write_text("\n".join(line.format(port=self.port) for line in lines))
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def command(self) -> Sequence[str]:
        return [self._program, str(self.directory / "redis.conf")]

    def answers(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except OSError:
            return False
        return True


def _somebody() -> str | None:
    """Whom PostgreSQL runs as: it refuses to be root."""
    if os.geteuid() != 0:
        return None
    names = {each.pw_name for each in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@cache
def postgresql() -> Postgres:
    """The one that the tests of this process share, each with a database of its own."""
    return Postgres(fsync=True)


@cache
def redis() -> Redis:
    """The one that the tests of this process share."""
    return Redis()


# Before the tests.


def install(names: Sequence[str]) -> None:
    """Debian's packages, without starting the services that come with them."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    packages = {"postgresql": "postgresql", "redis": "redis-server"}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    more: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "timeout": INSTALL_WITHIN}
    subprocess.run(["apt-get", "update", "-qq"], **more)
    wanted = [packages[name] for name in names]
    subprocess.run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *wanted], **more)


def main() -> int:
    """Say where each server is; 1 when one is missing that nobody wants to do without."""
    wanted = [name for name in NAMES if name not in without()]
    places: dict[str, Callable[[], object]] = {"postgresql": postgresql_bin, "redis": redis_server}

    def missing() -> dict[str, str]:
        found = {}
        for name in wanted:
            try:
                print(f"{name}: {places[name]()}")
            except Missing as error:
                found[name] = str(error)
        return found

    lacking = missing()
    if lacking:
        print(f"installing {', '.join(lacking)}", flush=True)
        install(list(lacking))
        lacking = missing()
    for problem in lacking.values():
        print(problem, file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
