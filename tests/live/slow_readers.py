"""Subscribers on four protocols that read, until they are told to read no more."""

from __future__ import annotations

import json
import socket
from typing import Any, Callable

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from ..ledger.lines import Ports
from ..rfc6455 import wire as websocket
from ..tcp import wire as tcp
from ..timing import RESCUE

reactor: Any = installed

HOST = "127.0.0.1"
TOPIC = "flood"
RECEIVE = 4096  # bytes of the socket's buffer, so that who does not read is seen early

# Of a hundred; GraphQL executes a document for each delivery, so that many would be a load of another kind.
SHARES = (("tcp", 40), ("websocket", 40), ("sse", 18), ("graphql", 2))

# port of `Ports`, what to say, and how one knows that one is subscribed
Hello = tuple[str, bytes, bytes]


def _http(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def over_tcp(token: str) -> Hello:
    said = tcp.frame(0x01, token=token) + tcp.frame(0x10, topic=TOPIC)
    return "tcp", said, b'"subscriptionId"'


def over_websocket(token: str) -> Hello:
    said = websocket.text(type="auth", token=token) + websocket.text(type="subscribe", topic=TOPIC)
    return "http", websocket.handshake() + said, b'"subscribed"'


def over_sse(token: str) -> Hello:
    return "http", _http("GET", f"/api/v1/topics/{TOPIC}/events", token), b"event: subscribed"


def over_graphql(token: str) -> Hello:
    query = f'subscription {{ topic(pattern: "{TOPIC}") {{ data }} }}'
    return "http", _http("POST", "/graphql", token, json.dumps({"query": query}).encode()), b":\n\n"


HELLOS: dict[str, Callable[[str], Hello]] = {
    "tcp": over_tcp,
    "websocket": over_websocket,
    "sse": over_sse,
    "graphql": over_graphql,
}


@define(eq=False)
class Reader(Protocol):
    _said: bytes
    _marker: bytes
    subscribed: Deferred[None] = field(factory=Deferred, init=False)
    heard: int = field(default=0, init=False)  # bytes
    last: bytes = field(default=b"", init=False)  # of them
    gone: bool = field(default=False, init=False)

    def connectionMade(self) -> None:
        self.line.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE)
        self.line.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self.heard += len(data)
        self.last = (self.last + data)[-1000:]
        if not self.subscribed.called and self._marker in self.last:
            self.subscribed.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone = True
        if not self.subscribed.called:
            self.subscribed.errback(ConnectionError(self.last))

    @property
    def line(self) -> Any:
        return self.transport

    def stop_reading(self) -> None:
        if not self.gone:
            self.line.pauseProducing()

    def read_on(self) -> None:
        if not self.gone:
            self.line.resumeProducing()

    def leave(self) -> None:
        self.line.abortConnection()


async def gather(ports: Ports, token: str, count: int, at_once: int = 50) -> list[Reader]:
    """`count` of them, in the `SHARES`, from as many addresses as it takes to be within the limits of each."""
    kinds = [kind for kind, share in SHARES for _ in range(share)]
    readers: list[Reader] = []
    while len(readers) < count:
        opening = []
        for number in range(len(readers), min(count, len(readers) + at_once)):
            port, said, marker = HELLOS[kinds[number * 37 % 100]](token)
            source = f"127.0.1.{1 + number % 40}"
            endpoint = TCP4ClientEndpoint(
                reactor, HOST, getattr(ports, port), bindAddress=(source, 0), timeout=RESCUE
            )
            opening.append(connectProtocol(endpoint, Reader(said, marker)))
        opened: Any = await gatherResults(opening, consumeErrors=True)
        await gatherResults([reader.subscribed for reader in opened], consumeErrors=True)
        readers += opened
    return readers
