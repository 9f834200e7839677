"""Private PostgreSQL and Redis servers for tests: the real programs, on free ports, in temporary directories.

`python -m tests.servers` sees to it that their programs are there, see
`programs.py`.  A server that can't be had fails the tests that need it, unless
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
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Callable, Sequence
from urllib.parse import quote

import psycopg

from . import canary
from .command_line import make_parser
from .ports import HOST, free_port
from .programs import Missing, main, needs, postgresql_bin, redis_server
from .timing import RESCUE

__all__ = ["HOST", "Missing", "Postgres", "Redis", "Server", "free_port", "needs", "postgresql", "redis"]

PR_SET_PDEATHSIG = 1  # prctl(2)


def _dying_with_parent() -> Callable[[], object] | None:
    """What a child does first, so that a killed test run leaves no server behind.

    The kernel takes the end of the thread that started it for the parent's: start servers in the main thread.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # here: a child between fork and exec may not load anything
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class DidNotStart(Exception):
    """With the end of its log."""


class Server:
    """One program in a directory of its own, on a port that stays the same when it is started again."""

    END = signal.SIGKILL  # what ends it at once with all its processes

    def __init__(self, name: str, owner: str | None = None, within: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=within))
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
                preexec_fn=_dying_with_parent(),
            )
        give_up = time.monotonic() + RESCUE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > give_up:
                said = (self.directory / "log").read_text()[-1000:]
                self.kill()
                raise DidNotStart(said)
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> None:
        """Until it has ended, of a signal or by itself."""
        assert self._process is not None
        self._process.wait(RESCUE)
        self._process = None

    @property
    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """For good."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # a test may have halted it
            self._process.send_signal(self.END)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(RESCUE)
        self.kill()
        if (self.directory / "log").exists():
            canary.look(f"log of {self.directory.name}", (self.directory / "log").read_text(errors="replace"))
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.stop)


class Postgres(Server):
    """With a password, as users have it; `fsync` is as it is in life unless a test wants to be quick."""

    END = signal.SIGQUIT  # "immediate shutdown"

    def __init__(
        self, fsync: bool = True, within: Path | None = None, primary: Postgres | None = None
    ) -> None:
        """In a directory `within` another one; as a standby of `primary`, if that is given."""
        self._bin = postgresql_bin()
        super().__init__("postgresql", _somebody(), within)
        self._fsync = fsync
        if primary is None:
            self.password = canary.CANARY + secrets.token_hex(12)
            self._initialize()
        else:
            self.password = primary.password
            self._copy(primary)
        self.start()

    def _initialize(self) -> None:
        file = self.directory / "password"
        file.write_text(self.password)
        if self.owner is not None:
            shutil.chown(file, self.owner)
        options = ("--auth=scram-sha-256", f"--pwfile={file}", "--encoding=UTF8", "--locale=C")
        self._run("initdb", "-U", "multiproto", *options)

    def _copy(self, primary: Postgres) -> None:
        """Begin with all that `primary` has, and to follow it."""
        way = ("-h", HOST, "-p", str(primary.port), "-U", "multiproto")
        options = ("--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream")
        self._run("pg_basebackup", *way, *options, PGPASSWORD=self.password)

    def _run(self, program: str, *options: str, **environment: str) -> None:
        """A program of PostgreSQL's that makes its directory of data."""
        command = [str(self._bin / program), "-D", str(self.directory / "data"), *options, "--no-sync"]
        subprocess.run(
            command,
            cwd="/",
            user=self.owner,
            env={**os.environ, **environment},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    @property
    def programs(self) -> Path:
        """The directory of its tools."""
        return self._bin

    @property
    def url(self) -> str:
        return f"postgresql://multiproto:{self.password}@{HOST}:{self.port}/postgres"

    def start(self) -> None:
        """Behind a kill, the new one first waits until the old one's processes have noticed."""
        give_up = time.monotonic() + RESCUE
        while True:
            try:
                return super().start()
            except DidNotStart as failed:
                if "shared memory block" not in str(failed) or time.monotonic() > give_up:
                    raise
            time.sleep(0.05)

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

    def set(self, name: str, value: str) -> None:
        """A setting of the whole server, for present sessions, too."""
        self._do(f"ALTER SYSTEM SET {name} = '{value}'")
        self._do("SELECT pg_reload_conf()")

    def ask(self, query: str) -> Any:
        """What is in the first column of its only row."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return row[0]


class Redis(Server):
    """Keeps nothing on disk; `options` are lines of its configuration file.

    There is a user with a password beside the one that needs none.
    """

    USER, PASSWORD = "tests", canary.PASSWORD

    def __init__(self, *options: str) -> None:
        self._program = redis_server()
        super().__init__("redis")
        lines = [f"bind {HOST}", 'save ""', "appendonly no", f"dir {self.directory}", *options]
        lines.append(f"user {self.USER} on >{self.PASSWORD} allcommands allkeys allchannels")
        if not any(line.startswith(("port ", "tls-port ")) for line in options):
            lines.append(f"port {self.port}")
        (self.directory / "redis.conf").write_text("\n".join(line.format(port=self.port) for line in lines))
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{self.USER}:{quote(self.PASSWORD)}@{HOST}:{self.port}/0"

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


def stop_shared() -> None:
    """Those that the tests of this process share, if there are any."""
    for shared in (postgresql, redis):
        if shared.cache_info().currsize:
            shared().stop()


if __name__ == "__main__":
    make_parser(__doc__).parse_args()
    sys.exit(main())
