"""The server as users start and stop it: `twistd -n multiproto`."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.canary import PASSWORD
from tests.ports import free_ports
from tests.timing import RESCUE, TEST_RESCUE, Stopwatch

from .clients import Address, Device, Person, Rest
from .processes import Program
from .test_matrix import TOPIC_QUERY

TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=")
STOPPED = -signal.SIGTERM  # when all is done, twistd ends by the signal that asked it to


class Started:
    """A `twistd` of ours, its address and what it says."""

    def __init__(
        self,
        data: Path,
        *options: str,
        python: tuple[str, ...] = (sys.executable,),
        address: Address | None = None,
        **environment: str,
    ) -> None:
        """`python` is how Python is started; `address`, the ports of one that has ended."""
        self.address = address or Address(*free_ports(3))
        self.program = Program.start(
            *python,
            *TWISTD,
            *options,
            "multiproto",
            PORT=str(self.address.http),
            TCP_PORT=str(self.address.tcp),
            METRICS_PORT=str(self.address.metrics),
            DATA_DIR=str(data),
            BCRYPT_ROUNDS="4",
            **environment,
        )

    @property
    def output(self) -> str:
        return (self.program.said + self.program.errors).decode(errors="replace")

    async def ready(self) -> Started:
        """Ask until it answers."""
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while reactor.seconds() < give_up and not self.program.ended.called:  # type: ignore[attr-defined]
            try:
                if (await Rest(self.address).ask("GET", "/health/ready"))[0] == 200:
                    return self
            except Exception:
                pass
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        raise AssertionError(self.output)


class TwistdCase(TestCase):
    timeout = TEST_RESCUE

    def setUp(self) -> None:
        self.data = Path(self.mktemp()).absolute()

    def start(self, *options: str, address: Address | None = None, **environment: str) -> Started:
        started = Started(self.data, *options, address=address, **environment)
        self.addCleanup(started.program.kill)
        return started

    async def failed(self, started: Started, *words: str) -> None:
        """It exits non-zero with one clear line that has `words`, and no traceback."""
        status = await started.program.ended
        self.assertNotEqual(status, 0, started.output)
        self.assertNotIn("Traceback", started.output)
        lines = [line for line in started.program.errors.decode().splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, started.output)
        for word in words:
            self.assertIn(word, lines[0])


class StartTests(TwistdCase):
    async def test_both_reactors(self) -> None:
        for options in ((), ("--reactor=asyncio",)):
            started = await self.start(*options).ready()
            await Person.register(started.address, "ann" if not options else "bob")
            started.program.signal("TERM")
            self.assertEqual(await started.program.ended, STOPPED, started.output)

    async def test_a_taken_port(self) -> None:
        """The sketch exited 0."""
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        for name in ("HTTP", "TCP", "METRICS"):
            started = Started.__new__(Started)
            ports = dict(zip(("PORT", "TCP_PORT", "METRICS_PORT"), map(str, free_ports(3))))
            setting = "PORT" if name == "HTTP" else f"{name}_PORT"
            ports[setting] = str(taken.getsockname()[1])
            started.program = Program.python(*TWISTD, "multiproto", DATA_DIR=str(self.data), **ports)
            self.addCleanup(started.program.kill)
            said = (
                f"multiproto: {setting}: can't listen on 127.0.0.1:{ports[setting]}: ",
                f"set {setting} to another",
            )
            await self.failed(started, *said, "in use", "DATA_DIR of its own")

    async def test_a_data_directory_that_cannot_be(self) -> None:
        """A file stands where it should be made (root may write anywhere, so no mode would do)."""
        self.data.write_text("not a directory")
        await self.failed(self.start(), str(self.data))

    async def test_a_second_server_in_one_data_directory(self) -> None:
        await self.start().ready()
        await self.failed(self.start(), str(self.data), "give this server a directory of its own by DATA_DIR")

    async def test_faults_of_configuration(self) -> None:
        """All at once, a line each, with origin and nearest key."""
        file = self.data.with_suffix(".toml")
        file.write_text('prot = 3000\njwt_expires_in = "soon"\n')
        started = self.start(LOG_LEVEL="loud")
        program = Program.python(*TWISTD, "multiproto", "--config", str(file), LOG_LEVEL="loud")
        self.addCleanup(program.kill)
        self.assertNotEqual(await started.program.ended, 0)
        self.assertNotEqual(await program.ended, 0)
        said = (program.said + program.errors).decode()
        self.assertNotIn("Traceback", said)
        for word in ("prot", "port", "jwt_expires_in", "LOG_LEVEL", file.name, "environment"):
            self.assertIn(word, said)

    async def test_a_key_that_signs_nothing(self) -> None:
        key = self.data.with_suffix(".pem")
        key.write_text("no key")
        await self.failed(
            self.start(JWT_PRIVATE_KEY_FILE=str(key)),
            f"JWT_PRIVATE_KEY_FILE ({key}) must hold one private key in PEM, and holds 0",
        )

    async def test_help(self) -> None:
        program = Program.python(*TWISTD, "multiproto", "--help")
        self.assertEqual(await program.ended, 0, program.errors)
        for word in (b"--config", b"--port", b"--data-dir", b"JWT_SECRET", b"docs/"):
            self.assertIn(word, program.said)


class StopTests(TwistdCase):
    async def test_farewells(self) -> None:
        """SIGTERM under traffic: each protocol's farewell, nothing accepted is lost, and it is over in time."""
        started = await self.start().ready()
        ann = await Person.register(started.address, "ann")
        socket, device, graphql = await ann.websocket(), await ann.device(), await ann.graphql_socket()
        payload = {"query": TOPIC_QUERY, "variables": {"pattern": "messages"}}
        graphql.say(type="subscribe", id="1", payload=payload)
        rest_stream = await ann.stream("GET", "/api/v1/topics/messages/events")
        graphql_stream = await ann.stream("POST", "/graphql", payload)
        for listener in (socket.ask(type="subscribe", topic="messages"), device.ask(0x10, topic="messages")):
            await listener

        accepted: list[str] = []
        stopping = Deferred.fromCoroutine(self.keep_sending(ann, accepted))
        while len(accepted) < 20:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]
        stopping_took = Stopwatch()
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        stopping_took.stop("a server under traffic stops", 30)
        await stopping

        code, reason = await socket.inbox.closed
        self.assertEqual((code, reason.partition("; after=")[0]), (1001, "server is shutting down"))
        self.assertEqual((await graphql.inbox.closed)[0], 1001)
        await gatherResults([each.inbox.closed for each in (device, rest_stream, graphql_stream)])
        kind, said = device.inbox.rest()[-1]
        self.assertEqual((kind, said["error"], said["code"]), (0xFF, "server is shutting down", "55"))
        self.assertEqual(rest_stream.inbox.rest()[-1][0], "farewell")
        # Not "complete": a client of graphql-sse takes that for the end and never comes back.
        self.assertEqual({event for event, _ in graphql_stream.inbox.rest()}, {"next"})
        self.assertNotIn("Traceback", started.output)

        again = await self.start().ready()
        rest = Rest(again.address, await self.login(again.address))
        kept: set[str] = set()
        pages = -(-len(accepted) // 100) + 1
        for page in range(1, pages + 1):
            _, answer = await rest.ask("GET", f"/api/v1/messages?limit=100&page={page}")
            kept |= {message["id"] for message in answer["data"]["data"]}
        self.assertEqual(set(accepted) - kept, set())

    async def keep_sending(self, person: Person, accepted: list[str]) -> None:
        """Messages one after the other until the server is gone."""
        while True:
            try:
                status, answer = await person.rest.ask(
                    "POST", "/api/v1/messages", {"content": "x", "channelId": "c"}
                )
            except Exception:
                return
            if status == 201:
                accepted.append(answer["data"]["id"])

    async def login(self, address: Address) -> str:
        fields: dict[str, Any] = {"email": "ann@example.org", "password": PASSWORD}
        _, answer = await Rest(address).ask("POST", "/api/v1/auth/login", fields)
        return str(answer["data"]["token"])

    async def test_peers_that_do_not_go(self) -> None:
        """A device that half-closed and one that never reads do not hold the server up.

        docs/predecessor-faults.md#fault-24
        """
        started = await self.start().ready()
        ann = await Person.register(started.address, "ann")
        device = await ann.device()
        device.transport.loseWriteConnection()
        stuck = socket.create_connection((started.address.host, started.address.tcp))
        self.addCleanup(stuck.close)
        await Device.open(started.address)
        await ann.stream("GET", "/api/v1/topics/room.1/events")
        stopping_took = Stopwatch()
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)
        stopping_took.stop("a server stops whose peers do not go", 15)
        self.assertNotIn("Traceback", started.output)
