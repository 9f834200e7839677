"""One server of a comparison: started, pinned to its core, watched, and ended."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Callable, Iterator, Mapping, Sequence

from attrs import Factory, define, field

from . import machine

HOST = "127.0.0.1"
READY_WITHIN = 30.0  # seconds
DOWN_WITHIN = 15.0  # seconds
SEND_BUFFER = 32768  # bytes: what waits in the kernel at a lap's end is still to be answered
PATIENCE = 10  # seconds for an answer


class Missing(Exception):
    """A peer is not on this machine; the text says what is, and how it would be."""


def free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


@define(eq=False)
class Contender:
    """`command` is a function of the port and a directory of its own.  It may raise `Missing`."""

    name: str
    command: Callable[[int, Path], Sequence[str]]
    environment: Mapping[str, str] = Factory(dict)
    everywhere: bool = False  # on the generator's core, too
    port: int = field(init=False, factory=free_port)
    directory: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def start(self) -> None:
        """Returns when it takes connections."""
        self.directory = Path(tempfile.mkdtemp(prefix="bench-", dir="."))
        try:
            self.launch()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """In the directory that is there."""
        command = self.command(self.port, self.directory.absolute())
        cores = machine.both() if self.everywhere else machine.cores()[:1]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=lambda: machine.pin(*cores),
            )
        self._await()

    def _await(self) -> None:
        assert self._process is not None
        gives_up = time.monotonic() + READY_WITHIN
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > gives_up:
                raise SystemExit(f"{self.name} did not start: {self.said()}")
            time.sleep(0.02)

    def ready(self) -> bool:
        try:
            socket.create_connection((HOST, self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """For good."""
        self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def halt(self) -> None:
        """What does not end by itself is cut off."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(DOWN_WITHIN)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu(self) -> float:
        """Seconds."""
        return machine.cpu_seconds(self.pid)

    def memory(self) -> int:
        """KiB."""
        return machine.private_kib(self.pid)


def connect(port: int) -> socket.socket:
    """Small writes leave at once; a read that lasts too long fails.  It blocks, as the generator in C wants it."""
    made = socket.create_connection((HOST, port), PATIENCE)
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
    return made


@contextmanager
def connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    """New ones for each lap: while the others have theirs, many a server hangs up on who says nothing for 5 s."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(connect(port))) for _ in range(count)]


def needs(program: str, advice: str) -> str:
    """The path of a program.  Raises `Missing`."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"not installed ({advice})")
    return found
