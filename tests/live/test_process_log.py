"""The process's own log while nobody reads it, while it is moved, and after its reader has gone."""

from __future__ import annotations

import http.client
import json
import os
import sys
from pathlib import Path
from signal import SIGHUP, SIGUSR1
from typing import Any, Callable

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent

from tests import canary
from tests.ports import free_ports
from tests.timing import RESCUE

from .clients import Address
from .processes import ROOT, Program
from .test_twistd import STOPPED, TWISTD, Started, TwistdCase
from .test_workers import WORKERS, WorkersCase

REQUESTS = 2000  # their lines are several times what a pipe holds
DROPPED = "log_lines_dropped_total"


class Unread(Started):
    """A `twistd` whose standard output is the pipe `output_fd`, which is read when the test says so."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        self.address = Address(*free_ports(3))
        self.output_fd, inherited = os.pipe()
        self.program = Program()
        settings = {
            "PORT": str(self.address.http),
            "TCP_PORT": str(self.address.tcp),
            "METRICS_PORT": str(self.address.metrics),
            "DATA_DIR": str(data),
            "PYTHONPATH": str(ROOT),
            "RATE_LIMIT_MAX": "100000",
            "RATE_LIMIT_USER_MAX": "100000",
            "CONNECT_RATE": "none",
            **environment,
        }
        command = (sys.executable, *TWISTD, *options, "multiproto")
        reactor.spawnProcess(  # type: ignore[attr-defined]
            self.program,
            command[0],
            command,
            env={**os.environ, **settings},
            path=str(ROOT),
            childFDs={0: "w", 1: inherited, 2: "r"},
        )
        os.close(inherited)

    async def read_until(self, wanted: str) -> str:
        """What was written, up to a line with `wanted` in it."""
        return await deferToThread(self._read_until, wanted.encode())

    def _read_until(self, wanted: bytes) -> str:
        text = b""
        while wanted not in text and (data := os.read(self.output_fd, 65536)):
            text += data
        canary.look("standard output", text.decode(errors="replace"))
        return text.decode()

    def close_reader(self) -> None:
        if self.output_fd >= 0:
            os.close(self.output_fd)
            self.output_fd = -1


def request_often(address: Address, count: int) -> int:
    """How many of `count` requests over one connection are answered."""
    connection = http.client.HTTPConnection(address.host, address.http, timeout=RESCUE)
    answered = 0
    try:
        for _ in range(count):
            connection.request("GET", "/health/live")
            answered += connection.getresponse().read() == b'{"status":"alive"}'
    finally:
        connection.close()
    return answered


async def dropped(address: Address) -> float:
    """The number of lines that were dropped, as the metrics port says."""
    url = f"http://{address.host}:{address.metrics}/metrics"
    text = await (await treq.get(url, agent=Agent(reactor))).text()
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{DROPPED} "))


async def until(so: Callable[[], bool]) -> None:
    give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
    while not so():
        assert reactor.seconds() < give_up  # type: ignore[attr-defined]
        await deferLater(reactor, 0.02)  # type: ignore[arg-type]


class StalledReaderTests(TwistdCase):
    def start_unread(self, *options: str, **environment: str) -> Unread:
        started = Unread(self.data, *options, **environment)
        self.addCleanup(started.close_reader)
        self.addCleanup(started.program.kill)
        return started

    async def requests(self, started: Started, count: int = REQUESTS) -> None:
        self.assertEqual(await deferToThread(request_often, started.address, count), count)

    async def test_service_goes_on_and_the_loss_is_reported(self) -> None:
        started = await self.start_unread(APP_ENV="test").ready()
        while not await dropped(started.address):
            await self.requests(started)
        written = await started.read_until("were dropped")
        lines = [json.loads(line) for line in written.splitlines()[:-1]]
        self.assertIn("ready", [line["message"] for line in lines])
        times = [line["time"] for line in lines if line["message"].startswith("GET /health/live")]
        self.assertGreater(len(times), REQUESTS)
        self.assertEqual(times, sorted(times))
        self.assertGreater(await dropped(started.address), 0)

    async def test_sigterm_ends_it(self) -> None:
        """Nothing of what was written is waited for longer than a moment."""
        for environment in ("test", "development"):
            started = await self.start_unread(APP_ENV=environment).ready()
            await self.requests(started)
            started.program.signal("TERM")
            self.assertEqual(await started.program.ended, STOPPED, started.output)

    async def test_a_reader_that_has_gone(self) -> None:
        started = await self.start_unread(APP_ENV="test").ready()
        started.close_reader()
        await self.requests(started)
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        self.assertEqual(started.program.errors, b"")

    async def test_all_is_written_before_a_normal_end(self) -> None:
        started = await self.start_unread(APP_ENV="test", LOG_LEVEL="debug").ready()
        await self.requests(started, 50)
        written = deferToThread(started._read_until, b"never written")
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        messages = [json.loads(line)["message"] for line in (await written).splitlines()]
        self.assertEqual(sum("GET /health/live 200" in message for message in messages), 50)
        self.assertEqual(messages[-1], "Server Shut Down.")

    async def test_a_start_that_fails_ends_while_nobody_reads(self) -> None:
        self.data.write_text("not a directory")
        started = self.start_unread(APP_ENV="test")
        self.assertEqual(await started.program.ended, 1)
        self.assertIn(str(self.data).encode(), started.program.errors)


class LogFileTests(TwistdCase):
    async def test_it_follows_a_file_that_was_moved(self) -> None:
        """On either signal, without losing a line, and the signal ends nothing."""
        path = self.data.with_suffix(".log")
        started = await self.start(
            f"--logfile={path}",
            APP_ENV="test",
            RATE_LIMIT_MAX="100000",
            RATE_LIMIT_USER_MAX="100000",
            CONNECT_RATE="none",
        ).ready()
        for number in (SIGUSR1, SIGHUP):
            moved = path.with_suffix(f".{number}")
            path.rename(moved)
            await deferToThread(request_often, started.address, 20)
            await until(lambda file=moved: b"GET /health/live" in file.read_bytes())  # type: ignore[misc]
            started.program.signal(number)
            await until(path.exists)
            await deferToThread(request_often, started.address, 20)
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        files = [path.with_suffix(f".{SIGUSR1}"), path.with_suffix(f".{SIGHUP}"), path]
        answered = [self.live_requests(file) for file in files]
        self.assertEqual(sum(answered), 80)
        self.assertEqual(all(answered), True, answered)

    def live_requests(self, file: Path) -> int:
        events = [json.loads(line) for line in file.read_text().splitlines()]
        return sum(event["message"].startswith("GET /health/live") for event in events)

    async def test_a_full_disk(self) -> None:
        """It serves, and ends as it should."""
        started = await self.start("--logfile=/dev/full", APP_ENV="test").ready()
        self.assertEqual(await deferToThread(request_often, started.address, 50), 50)
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        self.assertEqual(started.output, "")

    async def test_a_file_that_cannot_be_opened(self) -> None:
        """One line, and no traceback."""
        self.data.mkdir()
        await self.failed(self.start(f"--logfile={self.data}"), str(self.data), "directory")


class WorkersLogTests(WorkersCase):
    async def test_an_unread_output_does_not_stop_workers(self) -> None:
        """They write to the supervisor's output themselves."""
        crew = await self.crew(twistd=(*TWISTD, "--logfile=-"), CONNECT_RATE="none").all_ready()
        transport: Any = crew.program.transport
        transport.pauseProducing()
        for _ in range(4):
            answered = await deferToThread(request_often, crew.address, REQUESTS)
            self.assertEqual(answered, REQUESTS)
        crew.program.signal("TERM")
        await deferLater(reactor, 0.5)  # type: ignore[arg-type]
        transport.resumeProducing()
        self.assertEqual(await crew.program.ended, STOPPED, crew.output[-2000:])

    async def test_the_files_of_all_are_reopened(self) -> None:
        """Each process has its own; the supervisor passes the signal on."""
        path = Path(self.mktemp()).absolute().with_suffix(".log")
        crew = self.crew(twistd=(*TWISTD, f"--logfile={path}"))
        files = [path, *(path.with_stem(f"{path.stem}-worker{number}") for number in range(WORKERS))]
        await until(lambda: path.exists() and '"message": "ready"' in path.read_text())
        for number in (SIGUSR1, SIGHUP):
            for file in files:
                file.rename(file.with_suffix(f".{number}"))
            crew.program.signal(number)
            for file in files:
                await until(file.exists)
        crew.program.signal("TERM")
        self.assertEqual(await crew.program.ended, STOPPED, crew.output)
