"""Several processes behind one port, as users start, lose and stop them: `twistd -n multiproto --workers 2`."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any, Callable, Sequence

import treq
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.web.client import Agent

from tests.canary import SECRET
from tests.ports import free_ports, free_run
from tests.servers import needs, postgresql, redis
from tests.timing import RESCUE

from .clients import Address, Person, Rest
from .processes import Program
from .test_twistd import STOPPED, TWISTD, Started, TwistdCase

WORKERS = 2


def alive(pid: int) -> bool:
    """Whether it runs: not one that has ended and waits for somebody to ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Crew(Started):
    """Two workers and their supervisor, the address that they share, and what they say."""

    def __init__(self, twistd: Sequence[str], options: Sequence[str], **environment: str) -> None:
        http = free_run(2 + WORKERS)
        self.address = Address(http, http + 1, http + 2)
        settings = {
            "PORT": str(self.address.http),
            "TCP_PORT": str(self.address.tcp),
            "METRICS_PORT": str(self.address.metrics),
            "JWT_SECRET": SECRET,
            "BCRYPT_ROUNDS": "4",
            "RATE_LIMIT_MAX": "100000",
            "RATE_LIMIT_USER_MAX": "100000",
            "APP_ENV": "test",
            **environment,
        }
        words = (*twistd, "multiproto", "--workers", str(WORKERS), *options)
        self.program = Program.python(*words, **settings)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Lines of the log."""
        whole = self.program.said.rpartition(b"\n")[0].splitlines()
        return [json.loads(line) for line in whole if line.startswith(b"{")]

    @property
    def pids(self) -> list[int]:
        """Of the workers, by their numbers."""
        latest = {event["number"]: event["pid"] for event in self.events if "pid" in event}
        return [latest[number] for number in range(WORKERS)]

    def heard(self, message: str) -> bool:
        return any(message in event["message"] for event in self.events)

    async def all_ready(self) -> Crew:
        await self.until(lambda: any(self._all_up(event) for event in self.events) or self._ended)
        assert not self._ended, self.output
        return self

    def _all_up(self, event: dict[str, Any]) -> bool:
        """The supervisor's own word; a worker's has its number."""
        return bool(event["message"] == "ready" and "worker" not in event)

    @property
    def _ended(self) -> bool:
        return self.program.ended.called

    async def until(self, so: Callable[[], bool]) -> None:
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while not so():
            assert reactor.seconds() < give_up, self.output  # type: ignore[attr-defined]
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def connections(self, worker: int, wire: str) -> int:
        """How many of them this worker has, by its own account."""
        url = f"http://{self.address.host}:{self.address.metrics + worker}/stats"
        stats = await (await treq.get(url, agent=Agent(reactor))).json()
        return int(stats["protocols"][wire]["connections"]["activeConnections"])


@needs("postgresql", "redis")
class WorkersCase(TwistdCase):
    def crew(self, *more: str, twistd: Sequence[str] = TWISTD, **environment: str) -> Crew:
        """With `more` options of ours, besides those of twistd."""
        database = postgresql().new_database()
        self.addCleanup(postgresql().drop, database)
        given = {"DATABASE_URL": database, "REDIS_URL": redis().url, "PUBSUB_REDIS_PREFIX": f"{self.id()}:"}
        crew = Crew(twistd, more, **{**given, **environment})
        self.addCleanup(crew.program.kill)
        return crew


class ServingTests(WorkersCase):
    async def test_each_has_its_share(self) -> None:
        """The kernel spreads devices over both; a message reaches all of them; logs say whose line it is."""
        crew = await self.crew().all_ready()
        ann = await Person.register(crew.address, "ann")
        self.addCleanup(ann.leave)
        devices = [await ann.device() for _ in range(16)]
        shares = [await crew.connections(worker, "tcp") for worker in range(WORKERS)]
        self.assertEqual(sum(shares), 16)
        self.assertNotIn(0, shares)  # by chance once in 32,768 runs

        for device in devices:
            await device.ask(0x10, topic="messages.channel.c")
        status, answer = await ann.rest.ask(
            "POST", "/api/v1/messages", {"content": "hello", "channelId": "c"}
        )
        self.assertEqual(status, 201)
        for _, said in await gatherResults([device.inbox.next() for device in devices]):
            self.assertEqual(said["content"]["message"]["id"], answer["data"]["id"])
        await crew.until(lambda: {event["worker"] for event in crew.events if "worker" in event} == {0, 1})
        self.assertNotIn("Traceback", crew.output)

    async def test_one_is_killed(self) -> None:
        """The other serves on, and another one takes its place."""
        crew = await self.crew().all_ready()
        first, second = crew.pids
        os.kill(first, signal.SIGKILL)
        await crew.until(lambda: crew.heard("worker 0 ended by signal 9"))
        ann = await Person.register(crew.address, "ann")
        self.addCleanup(ann.leave)
        await crew.until(lambda: crew.pids[0] != first and self.ready_again(crew))
        self.assertEqual(crew.pids[1], second)
        self.assertEqual(await crew.connections(0, "tcp"), 0)
        while not await crew.connections(0, "tcp"):
            await ann.device()

    def ready_again(self, crew: Crew) -> bool:
        return [event["message"] for event in crew.events].count("worker 0 is ready") == 2


class StoppingTests(WorkersCase):
    async def test_all_are_drained(self) -> None:
        """Every connection hears its farewell; nobody is left, nor anything that listens."""
        for options in ((), ("--reactor=asyncio",)):
            crew = await self.crew(twistd=(*TWISTD, *options)).all_ready()
            ann = await Person.register(crew.address, "ann")
            sockets = [await ann.websocket() for _ in range(8)]
            pids = crew.pids
            self.assertEqual([os.getsid(pid) for pid in pids], pids)  # Ctrl-C does not reach them
            crew.program.signal("TERM")
            self.assertEqual(await crew.program.ended, STOPPED, crew.output)
            for each in sockets:
                code, reason = await each.inbox.closed
                self.assertEqual((code, reason.partition(";")[0]), (1001, "server is shutting down"))
            self.assertEqual([alive(pid) for pid in pids], [False, False])
            socket.create_server((crew.address.host, crew.address.http)).close()
            self.assertNotIn("Traceback", crew.output)

    async def test_one_that_hangs(self) -> None:
        """It is killed, and the status tells."""
        crew = await self.crew(SHUTDOWN_TIMEOUT="1s").all_ready()
        pids = crew.pids
        os.kill(pids[1], signal.SIGSTOP)
        crew.program.signal("TERM")
        self.assertEqual(await crew.program.ended, 1, crew.output)
        self.assertEqual([alive(pid) for pid in pids], [False, False])
        self.assertTrue(crew.heard("worker 1 does not stop: killing it"))

    async def test_the_supervisor_is_killed(self) -> None:
        """Its workers go, too."""
        crew = await self.crew().all_ready()
        pids = crew.pids
        crew.program.signal("KILL")
        await crew.until(lambda: not any(map(alive, pids)))

    async def test_in_the_background(self) -> None:
        """With a pid file, and a log file for each process."""
        self.data.mkdir()
        pid_file, log = self.data / "twistd.pid", self.data / "m.log"
        crew = self.crew(twistd=(*TWISTD[:2], f"--pidfile={pid_file}", f"--logfile={log}"))
        self.assertEqual(await crew.program.ended, 0, crew.output)
        pid = int(pid_file.read_text())
        self.addCleanup(lambda: os.kill(pid, signal.SIGKILL) if alive(pid) else None)
        ready = [f'"worker {number} is ready"' for number in range(WORKERS)]
        await crew.until(lambda: all(line in log.read_text() for line in ready))
        await Person.register(crew.address, "ann")
        os.kill(pid, signal.SIGTERM)
        await crew.until(lambda: not alive(pid))
        self.assertFalse(pid_file.exists())
        for number in range(WORKERS):
            self.assertIn('"message": "stopped"', (self.data / f"m-worker{number}.log").read_text())


class RefusedTests(WorkersCase):
    async def refused(self, crew: Crew, *words: str) -> None:
        """Status 1, and one line with these words."""
        self.assertEqual(await crew.program.ended, 1, crew.output)
        await self.failed(crew, *words)

    async def test_what_they_can_not_share(self) -> None:
        crew = self.crew(DATABASE_URL="", REDIS_URL="")
        self.assertEqual(await crew.program.ended, 1)
        self.assertEqual(
            crew.program.errors.decode().splitlines(),
            [
                "multiproto: WORKERS (flag) needs a database that 2 processes can share: set DATABASE_URL",
                "multiproto: WORKERS (flag) needs a Redis that 2 processes can share: set REDIS_URL",
            ],
        )

    async def test_a_taken_port(self) -> None:
        """Also by a program that would share it."""
        for shared in (False, True):
            taken = socket.create_server(("127.0.0.1", 0), reuse_port=shared)
            port = str(taken.getsockname()[1])
            for name in ("PORT", "TCP_PORT"):
                await self.refused(self.crew(**{name: port}), f":{port}", "in use", f"set {name} to another")
            taken.close()

    async def test_a_taken_port_of_metrics(self) -> None:
        """The second worker's: both end, and the reason is told once."""
        first = free_run(WORKERS)
        taken = socket.create_server(("127.0.0.1", first + 1))
        self.addCleanup(taken.close)
        await self.refused(
            self.crew(METRICS_PORT=str(first)), f":{first + 1}", "in use", "set METRICS_PORT to another"
        )

    async def test_a_database_that_is_not_there(self) -> None:
        """Told once, though all of them say so."""
        (port,) = free_ports(1)
        crew = self.crew(DATABASE_URL=f"postgresql://ada:hunter2@127.0.0.1:{port}/d")
        await self.refused(crew, str(port))
        self.assertNotIn("hunter2", crew.output)
        self.assertEqual([alive(pid) for pid in crew.pids], [False, False])

    async def test_a_user_that_could_not_start_them_again(self) -> None:
        crew = self.crew(twistd=(*TWISTD, "--uid", str(os.getuid())))
        await self.refused(crew, "--uid", "workers")


class SettingsTests(WorkersCase):
    async def test_one_that_is_started_again_has_the_same(self) -> None:
        """Whatever became of the file since: settings are read once."""
        file = self.data.with_suffix(".toml")
        file.write_text('app_name = "before"\n')
        crew = await self.crew("--config", str(file)).all_ready()
        file.write_text('app_name = "after"\nport = "none"\n')
        for pid in crew.pids:
            os.kill(pid, signal.SIGKILL)
        await crew.until(lambda: sum(event["message"].endswith("is ready") for event in crew.events) == 4)
        _, answer = await Rest(crew.address).ask("GET", "/")
        self.assertEqual(answer["name"], "before")
