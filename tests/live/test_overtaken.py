"""Pruning overtakes many slow clients that catch up: each is told to the end why, and from where to go on."""

from __future__ import annotations

import json
import re
import socket
from typing import Any, Sequence

from attrs import define, field, frozen
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
BITE, PAUSE = 8192, 0.25
REPLAYED = rb'"replay":"|"type":"next"'


@frozen
class Dialogue:
    """What one client says, and how it is told goodbye."""

    port: int
    lines: Sequence[tuple[bytes, bytes]]  # what it waits for each time, and what it says then
    farewell: bytes  # a regular expression, with the cursor
    answer: bytes | None  # to that; `None`: it closes the connection


@define(eq=False)
class SlowClient(Protocol):
    """Reads a little now and then."""

    _dialogue: Dialogue
    heard: bytearray = field(factory=bytearray, init=False)
    told: bool = field(default=False, init=False)  # goodbye, with a cursor
    begun: Deferred[None] = field(factory=Deferred, init=False)
    gone: Deferred[None] = field(factory=Deferred, init=False)
    _said: int = field(default=0, init=False)  # lines
    _pause: IDelayedCall | None = field(default=None, init=False)

    @property
    def line(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self.line.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        self.line.bufferSize = BITE
        self.say()

    def say(self) -> None:
        lines = self._dialogue.lines
        while self._said < len(lines) and lines[self._said][0] in self.heard:
            self.line.write(lines[self._said][1])
            self._said += 1

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        self.say()
        recent = self.heard[-2 * BITE :]
        if not self.begun.called and re.search(REPLAYED, recent):
            self.begun.callback(None)
        self.line.pauseProducing()
        self._pause = reactor.callLater(PAUSE, self.line.resumeProducing)
        if not self.told and re.search(self._dialogue.farewell, recent, re.DOTALL):
            self.told = True
            if self._dialogue.answer is None:
                self.line.loseConnection()
            else:
                self.line.write(self._dialogue.answer)

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
        clients = [
            await self.connect(each) for each in self.dialogues(cursor).values() for _ in range(CLIENTS)
        ]
        await gatherResults([each.begun for each in clients])
        await self.publish(2 * KEPT)
        await gatherResults([each.gone for each in clients])
        told = [each.told for each in clients]
        for number, name in enumerate(self.dialogues(cursor)):
            self.assertEqual(told[number * CLIENTS :][:CLIENTS], [True] * CLIENTS, name)

    def dialogues(self, after: str) -> dict[str, Dialogue]:
        address, token = self.started.address, self.ann.token
        tcp_lines = tcp.frame(0x01, token=token) + tcp.frame(0x10, topic="kept.**", after=after)
        said = [{"type": "auth", "token": token}, {"type": "subscribe", "topic": "kept.**", "after": after}]
        query = f'subscription {{ topic(pattern: "kept.**", after: "{after}") {{ topic data }} }}'
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
        graphql = websocket.handshake("Sec-WebSocket-Protocol: graphql-transport-ws").replace(
            b"/ws", b"/graphql"
        )
        sse = (
            f"GET /api/v1/topics/kept.**/events?after={after} HTTP/1.1\r\nHost: example.com\r\n"
            f"Authorization: Bearer {token}\r\n\r\n"
        )
        return {
            "TCP": Dialogue(address.tcp, [(b"", tcp_lines)], rb'"code":"55".*"cursor":"', b""),
            "WebSocket": Dialogue(
                address.http,
                [(b"", websocket.handshake() + b"".join(websocket.text(**each) for each in said))],
                rb"\x03\xf5Reads more slowly.*; after=",
                websocket.close(1000),
            ),
            "GraphQL": Dialogue(
                address.http,
                [
                    (b"", graphql + websocket.text(**init)),
                    (b"connection_ack", websocket.text(type="subscribe", id="1", payload={"query": query})),
                ],
                rb'"type":"error".*Reads more slowly.*"cursor":"',
                websocket.close(1000),
            ),
            "SSE": Dialogue(
                address.http, [(b"", sse.encode())], rb'event: farewell.*"cursor":"[^"]*"}', None
            ),
        }

    async def connect(self, dialogue: Dialogue) -> SlowClient:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", dialogue.port)
        client: SlowClient = await connectProtocol(endpoint, SlowClient(dialogue))
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
