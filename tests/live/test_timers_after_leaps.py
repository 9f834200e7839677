"""Each timer of docs/operations.md fires after the machine's clock was set, either way, and while it is an hour late.

A timer by the time of day would have to wait for that hour.  What takes its
time is begun at once on all ports, and each must end: nothing is said here of
how long it takes, but a test ends a hanging one (`tests.timing`).
"""

from __future__ import annotations

import contextlib  # trial takes a `suppress` of this module for its own
import json
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from tests.canary import PASSWORD
from tests.certificates import Authority
from tests.fake_clock import HOUR, LEAPS, FakeClock, NoFakeClock
from tests.timing import RESCUE

from . import test_twistd
from .clients import Device, Rest, WebSocket, frame
from .test_twistd import Started, TwistdCase

HOST = "127.0.0.1"
AUTH, MESSAGE, SUBSCRIBE = 0x01, 0x20, 0x10
# The timer of pruning is the usual one, of half a minute, with another interval.
TWISTD = (
    "-c",
    "from multiproto.log import pruner; pruner.INTERVAL = 2.0; from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)
PROXY_HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 3001\r\n"


class Quiet(Protocol):
    """Says one thing, and nothing more; `ended` fires with all that came."""

    def __init__(self, said: bytes) -> None:
        self._said, self._came = said, b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self._came += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self._came)


class TimerCase(TwistdCase):
    async def start_and_leap(self, **settings: str) -> Started:
        """A server whose clock has leapt either way and is an hour late, and stays so."""
        self.data.mkdir()
        try:
            self.clock = FakeClock.make(self.data)
        except NoFakeClock as why:
            raise SkipTest(str(why)) from None
        self.patch(test_twistd, "TWISTD", TWISTD)
        directory, self.data = self.data, self.data / "data"
        started = self.start(**self.clock.environment, **settings)
        self.metrics = started.address.metrics
        await self.until_health("healthy")
        for seconds in (*LEAPS, -HOUR):
            self.clock.set(seconds)
            await self.until_health("degraded")
        self.assertTrue(directory.is_dir())
        return started

    async def until_health(self, wanted: str) -> None:
        """As the metrics port says it, which is plain whatever the others speak."""
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        said = ""
        while f'"{wanted}"' not in said:
            self.assertLess(reactor.seconds(), give_up, said)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
            with contextlib.suppress(ConnectError):  # it does not listen yet
                said = await self.ask_metrics()

    async def ask_metrics(self) -> str:
        request = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        return (await self.quiet(self.metrics, request.encode())).decode()

    async def quiet(self, port: int, said: bytes) -> bytes:
        """What came on a connection on which one thing is said, until the server ends it."""
        protocol = await connectProtocol(HostnameEndpoint(reactor, HOST, port), Quiet(said))
        return await protocol.ended.addTimeout(RESCUE, reactor)

    async def all_of(self, waits: dict[str, Any]) -> dict[str, Any]:
        results = await gatherResults(
            [Deferred.fromCoroutine(each) for each in waits.values()], consumeErrors=True
        )
        return dict(zip(waits, results))


class PlainTimerTests(TimerCase):
    async def test_all_deadlines_of_connections_end_them(self) -> None:
        started = await self.start_and_leap(
            AUTH_TIMEOUT="1s",
            TCP_PING_INTERVAL="1s",
            TCP_PING_TIMEOUT="1s",
            WEBSOCKET_PING_INTERVAL="1s",
            JWT_EXPIRES_IN="20s",
            NAMESPACES=json.dumps([{"match": "kept.**", "retention": "1s"}]),
        )
        address = started.address
        token = await self.log_in(started)
        cursor = await self.publish(started, token)
        head = f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {HOST}\r\n".encode()
        body = b"Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        whole = f"GET /health/live HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        ends = await self.all_of(
            {
                "TCP without AUTH": self.quiet(address.tcp, b""),
                "TCP in silence": self.quiet(address.tcp, frame(AUTH, token=token)),
                "WebSocket without AUTH": self.closed(await WebSocket.open(address)),
                "GraphQL without connection_init": self.closed(
                    await WebSocket.open(address, "/graphql", ("graphql-transport-ws",))
                ),
                "a token's life on a connection": self.token_ends(await WebSocket.open(address), token),
                "a request's head": self.quiet(address.http, head),
                "a request's body": self.quiet(address.http, head + body),
                "between two requests": self.quiet(address.http, whole),
                "a request's head, metrics": self.quiet(address.metrics, head),
                "between two requests, metrics": self.quiet(address.metrics, whole),
            }
        )
        self.assertIn(bytes([0x30]), ends["TCP in silence"][4:])  # pinged before
        self.assertEqual(ends["a request's head"].split()[1], b"408")
        self.assertEqual(ends["a request's body"].split()[1], b"408")
        self.assertIn(b"200", ends["between two requests"].split()[1])
        # A minute has passed: without the canary's timer it would not be ready any more.
        self.assertEqual((await Rest(address).ask("GET", "/health/ready"))[0], 200)
        await self.nothing_is_pruned_until_the_clock_is_right(started, cursor)

    async def log_in(self, started: Started) -> str:
        fields = {"email": "ann@example.org", "password": PASSWORD}
        rest = Rest(started.address)
        await rest.ask("POST", "/api/v1/auth/register", {**fields, "name": "ann"})
        status, answer = await rest.ask("POST", "/api/v1/auth/login", fields)
        self.assertEqual(status, 200, answer)
        return str(answer["data"]["token"])

    async def publish(self, started: Started, token: str) -> str:
        """The cursor before what is published, and that must be gone when it is pruned."""
        device = await Device.open(started.address)
        await device.ask(AUTH, token=token)
        _, subscribed = await device.ask(SUBSCRIBE, topic="kept.**")
        device.say(MESSAGE, topic="kept.it", content="short-lived", id="1")
        await device.inbox.next()
        await device.close()
        return str(subscribed["cursor"])

    async def closed(self, socket: WebSocket) -> Any:
        return await socket.inbox.closed

    async def token_ends(self, socket: WebSocket, token: str) -> None:
        self.assertEqual((await socket.ask(type="auth", token=token))["type"], "auth_success")
        await socket.inbox.closed

    async def nothing_is_pruned_until_the_clock_is_right(self, started: Started, cursor: str) -> None:
        self.assertTrue(await self.is_recovered(started, cursor))
        self.clock.set(0)
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while await self.is_recovered(started, cursor):
            self.assertLess(reactor.seconds(), give_up, "nothing is pruned")  # type: ignore[attr-defined]
            await deferLater(reactor, 2)  # type: ignore[arg-type]  # each logs in, which is limited

    async def is_recovered(self, started: Started, cursor: str) -> bool:
        device = await Device.open(started.address)
        await device.ask(AUTH, token=await self.log_in(started))
        _, subscribed = await device.ask(SUBSCRIBE, topic="kept.**", after=cursor)
        await device.close()
        return bool(subscribed["recovered"])


class EdgeTimerTests(TimerCase):
    async def test_who_says_nothing_before_a_proxy_header_or_a_handshake_is_ended(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        files = Authority().write(directory, "server")
        started = await self.start_and_leap(
            TLS_CERT_FILE=str(files.certificate.absolute()),
            TLS_KEY_FILE=str(files.key.absolute()),
            TRUSTED_PROXIES="127.0.0.1",
            PROXY_PROTOCOL="true",
        )
        ends = await self.all_of(
            {
                f"{name} {stage}": self.quiet(port, said)
                for name, port in (("HTTP", started.address.http), ("TCP", started.address.tcp))
                for stage, said in (("header", b""), ("handshake", PROXY_HEADER))
            }
        )
        self.assertEqual(set(ends.values()), {b""})
