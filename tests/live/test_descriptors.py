"""A server that has few file descriptors, and one that has none to spare at a first request."""

from __future__ import annotations

import fcntl
import json
import re
import resource
import socket
import sys
import termios
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.reactor.accepting import PAUSE
from tests.timing import RESCUE

from .clients import Person, Rest
from .test_twistd import Started, TwistdCase

DESCRIPTORS = 256
FEW = ("sh", "-c", f'ulimit -n {DESCRIPTORS}; exec "$@"', "sh", sys.executable)
FEW_AT_FIRST = ("sh", "-c", f'ulimit -S -n {DESCRIPTORS}; exec "$@"', "sh", sys.executable)
STDERR = 2
SHOW_IMPORTS = (sys.executable, "-X", "importtime")


class DescriptorTests(TwistdCase):
    def messages(self, started: Started, words: str) -> list[str]:
        """The lines of its log with these words."""
        lines = [line for line in started.program.said.decode().splitlines() if line.startswith("{")]
        return [line for line in (json.loads(line)["message"] for line in lines) if words in line]

    async def until(self, condition: Any, what: str) -> None:
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while not condition():
            self.assertLess(reactor.seconds(), give_up, what)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def test_used_up_by_connections(self) -> None:
        """Those that come are turned away, with one line; all else goes on, and so do they when there is room."""
        started = Started(self.data, python=FEW)
        self.addCleanup(started.program.kill)
        await started.ready()
        ann = await Person.register(started.address, "ann")
        socket_of_ann = await ann.websocket()
        crowd = [
            socket.create_connection(("127.0.0.1", started.address.tcp), source_address=(f"127.0.1.{n}", 0))
            for n in range(1, 5)
            for _ in range(60)
        ]
        await self.until(lambda: self.messages(started, "used up"), started.output)
        subscribed = await socket_of_ann.ask(type="subscribe", topic="messages", id=1)
        self.assertEqual(subscribed["retention"], "log")  # which has read the database
        metrics = await treq.get(f"http://127.0.0.1:{started.address.metrics}/metrics", persistent=False)
        self.assertNotIn("\ndescriptors_exhausted_total 0.0", await metrics.text())
        for each in crowd:
            each.close()
        await started.ready()
        self.assertEqual(len(self.messages(started, "used up")), 1)
        await socket_of_ann.close()

    async def test_none_are_left_to_accept_with(self) -> None:
        """Whoever connects meanwhile waits and is answered; the log says it once, in the words of the operator."""
        started = Started(self.data)
        self.addCleanup(started.program.kill)
        await started.ready()
        pid = started.program.transport.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # of which it has more open than that
        self.addCleanup(resource.prlimit, pid, resource.RLIMIT_NOFILE, limits)
        answers: list[Any] = []
        waiting = treq.get(f"http://127.0.0.1:{started.address.http}/health/live", persistent=False)
        waiting.addBoth(answers.append)
        await self.until(lambda: self.messages(started, "can't be accepted"), started.output)
        await deferLater(reactor, 2.5 * PAUSE)  # type: ignore[arg-type]  # time to try a few times more
        self.assertEqual(answers, [])
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        await waiting
        self.assertEqual([answer.code for answer in answers], [200])
        (line,) = self.messages(started, "accept")
        self.assertIn("LimitNOFILE=", line)
        metrics = await treq.get(f"http://127.0.0.1:{started.address.metrics}/metrics", persistent=False)
        (counted,) = re.findall(r"(?m)^accept_failures_total (\S+)", await metrics.text())
        self.assertLess(float(counted), 2 * RESCUE / PAUSE)  # some a second, not some in each turn

    async def test_the_soft_limit_is_raised(self) -> None:
        started = Started(self.data, python=FEW_AT_FIRST)
        self.addCleanup(started.program.kill)
        await self.until(lambda: self.messages(started, "file descriptors"), started.output)
        (line,) = self.messages(started, "file descriptors")
        self.assertIn(f"({DESCRIPTORS} at the start)", line)
        self.assertFalse(line.startswith(f"file descriptors: {DESCRIPTORS} "), line)

    async def test_nothing_is_imported_at_a_request(self) -> None:
        """An import opens files: what is missing when descriptors are short would fail from then on."""
        started = Started(self.data, python=SHOW_IMPORTS)
        self.addCleanup(started.program.kill)
        await self.until(lambda: b'"message": "ready"' in started.program.said, started.output)
        await self.until(lambda: not self.unread_errors(started), started.output)
        before = len(started.program.errors)
        self.assertIn(b"import time:", started.program.errors)
        await self.ask_for_everything(started)
        await self.until(lambda: not self.unread_errors(started), started.output)
        self.assertEqual(started.program.errors[before:].decode(), "")

    def unread_errors(self, started: Started) -> int:
        """Bytes that it has written to its stderr and that were not read here yet: its stdout may be ahead."""
        pipe: Any = started.program.transport.pipes[STDERR]  # type: ignore[union-attr]
        return int.from_bytes(fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4)), sys.byteorder)

    async def ask_for_everything(self, started: Started) -> None:
        """One request of each kind, the refused ones included."""
        address = started.address
        nobody, ann = Rest(address), await Person.register(address, "ann")
        rest = Rest(address, ann.token)
        for path in ("/", "/health", "/health/ready", "/nope", "/ws", "/.well-known/jwks.json", "/graphql"):
            await nobody.ask("GET", path)
        for path in ("auth/me", "auth/sessions", "auth/credentials", "messages?limit=0", "audit", "users/x"):
            await rest.ask("GET", f"/api/v1/{path}")
        await nobody.ask("POST", "/api/v1/auth/login", {"email": "nobody@example.org", "password": "wrong"})
        await nobody.ask("POST", "/api/v1/auth/refresh", {"refreshToken": "x"})
        await rest.ask("PUT", f"/api/v1/users/{ann.id}", {"name": "Anna", "email": "not an address"})
        await rest.ask("POST", "/api/v1/messages", {"content": "x" * 2000, "channelId": "c"})
        await rest.ask("GET", "/api/v1/messages", **{"Accept-Encoding": "gzip"})
        await rest.ask("OPTIONS", "/api/v1/messages", Origin="http://localhost:1")
        for query in ("{ me { id } health { status } }", "{ __schema { types { name } } }", "{ nope }", "{"):
            await rest.graphql(query)
        await rest.graphql('mutation { publish(topic: "a", data: 1) { topic timestamp } }')
        for opened in (await ann.websocket(), await ann.graphql_socket()):
            await opened.close()
        device = await ann.device()
        device.say(0x20, topic="a", content=1)
        self.assertEqual((await device.ask(0x30, timestamp=1))[0], 0x31)
        await device.close()
        events = await ann.stream("GET", "/api/v1/topics/a/events")
        events.hang_up()
        for page in ("metrics", "metrics/json", "health", "stats", "nope"):
            answer = await treq.get(f"http://127.0.0.1:{address.metrics}/{page}", persistent=False)
            await answer.content()
        await rest.ask("POST", "/api/v1/auth/logout")
        await rest.ask("GET", "/api/v1/auth/me")
