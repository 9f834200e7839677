"""Pruning overtakes many slow clients that catch up: each is told to the end why, and from where to go on."""

from __future__ import annotations

import json
import socket
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ..rfc6455 import wire as websocket
from ..tcp import wire as tcp
from . import test_twistd
from .clients import Person
from .test_twistd import TwistdCase

reactor: Any = installed

# The timer of pruning is the usual one, of half a minute, with another interval; the pages of a replay are smaller.
TWISTD = (
    "-c",
    "from multiproto.log import pruner; pruner.INTERVAL = 0.5; "
    "from multiproto.core.pubsub import replay; replay.PAGE_SPAN, replay.PAGE_ALIGNMENT = 64, 16; "
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
)
CLIENTS = 25  # of each protocol
SIZE = 2000  # bytes of an event
# Events; what was missed is more than the server's kernel takes for a client that does not read.
MISSED, KEPT = 3000, 3100
RECEIVE = 4096  # bytes of a client's buffer in the kernel
# Bytes that a client reads at once, and seconds between: what is on its way takes it longer than five seconds.
BITE, PAUSE = 8192, 0.5
TOO_SLOW = b"\x03\xf5Reads more slowly"  # code 1013, and the reason


@define(eq=False)
class SlowClient(Protocol):
    """Reads a little now and then."""

    _said: bytes
    _marker: bytes  # of the farewell
    _answer: bytes  # to that
    heard: bytearray = field(factory=bytearray, init=False)
    begun: Deferred[None] = field(factory=Deferred, init=False)
    gone: Deferred[None] = field(factory=Deferred, init=False)
    _pause: IDelayedCall | None = field(default=None, init=False)

    @property
    def line(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self.line.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        self.line.bufferSize = BITE
        self.line.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if b"replay" in self.heard and not self.begun.called:
            self.begun.callback(None)
        self.line.pauseProducing()
        if self._marker in self.heard and self._answer:
            self.line.write(self._answer)
            self._answer = b""
        self._pause = reactor.callLater(PAUSE, self.line.resumeProducing)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self.gone.callback(None)


class OvertakenTests(TwistdCase):
    async def test_each_gets_the_farewell_with_its_cursor(self) -> None:
        self.patch(test_twistd, "TWISTD", TWISTD)
        self.started = await self.start(
            NAMESPACES=json.dumps([{"match": "kept.**", "most": KEPT}]),
            PUBLISH_RATE="none",
            TCP_MAX_CONNECTIONS_PER_IP="1000",
            WEBSOCKET_MAX_CONNECTIONS_PER_IP="1000",
            CONNECT_RATE="none",
        ).ready()
        self.ann = await Person.register(self.started.address, "ann")
        self.addCleanup(self.ann.leave)
        cursor = await self.publish(1)
        await self.publish(MISSED)
        address, token = self.started.address, self.ann.token
        over_tcp = tcp.frame(0x01, token=token) + tcp.frame(0x10, topic="kept.**", after=cursor)
        said = [{"type": "auth", "token": token}, {"type": "subscribe", "topic": "kept.**", "after": cursor}]
        over_websocket = websocket.handshake() + b"".join(websocket.text(**each) for each in said)
        clients = [await self.connect(address.tcp, over_tcp, b'"code":"55"', b"") for _ in range(CLIENTS)]
        clients += [
            await self.connect(address.http, over_websocket, TOO_SLOW, websocket.close(1000))
            for _ in range(CLIENTS)
        ]
        await gatherResults([each.begun for each in clients])
        await self.publish(2 * KEPT)
        await gatherResults([each.gone for each in clients])
        for client in clients[:CLIENTS]:
            *_, (kind, error) = tcp.frames(bytes(client.heard))
            self.assertEqual((kind, error["code"]), (0xFF, "55"))
            self.assertIn("cursor", error["details"])
        for client in clients[CLIENTS:]:
            self.assertIn(b"; after=", client.heard[client.heard.index(TOO_SLOW) :])

    async def connect(self, port: int, *dialogue: bytes) -> SlowClient:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        client: SlowClient = await connectProtocol(endpoint, SlowClient(*dialogue))
        self.addCleanup(client.line.abortConnection)
        return client

    async def publish(self, count: int) -> str:
        """So many events; gives the last cursor."""
        device = await self.ann.device()
        for number in range(count):
            device.say(0x20, topic="kept.it", content="x" * SIZE, id=number)
        for _ in range(count):
            kind, said = await device.inbox.next()
            self.assertEqual(kind, 0x22, said)
        return str(said["cursor"])
