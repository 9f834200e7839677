"""Clients that do nothing wrong, and how long they wait: a publication for its delivery, a request for its answer."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall

from ...ledger.lines import Ports
from ...tcp.wire import frame

reactor: Any = installed

HOST = "127.0.0.1"
EVERY = 0.1  # seconds between two of one client


@define(eq=False)
class Behaved(Protocol):
    """Asks again when it was answered, and not before `EVERY`."""

    _hello: bytes
    _question: bytes
    _answer: bytes  # what an answer holds
    times: list[float] = field(factory=list, init=False)  # seconds that each waited
    _asked_at: float | None = field(default=None, init=False)
    _heard: bytes = field(default=b"", init=False)
    _calls: LoopingCall = field(init=False)

    def connectionMade(self) -> None:
        self._line.setTcpNoDelay(True)
        self._line.write(self._hello)
        self._calls = LoopingCall(self._ask)

    def begin(self, after: float) -> None:
        reactor.callLater(after, self._calls.start, EVERY)

    def leave(self) -> None:
        if self._calls.running:
            self._calls.stop()
        self._line.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._heard = (self._heard + data)[-8192:]
        if self._asked_at is not None and self._answer in self._heard:
            self.times.append(time.perf_counter() - self._asked_at)
            self._asked_at, self._heard = None, b""

    @property
    def _line(self) -> Any:
        return self.transport

    def _ask(self) -> None:
        if self._asked_at is None:
            self._asked_at, self._heard = time.perf_counter(), b""
            self._line.write(self._question)


def device(token: str, number: int) -> Behaved:
    """Publishes to a topic of its own, which it follows."""
    topic = f"room.{number}"
    hello = frame(0x01, token=token) + frame(0x10, topic=topic)
    return Behaved(hello, frame(0x20, topic=topic, content={"n": 1}), b'"senderConnectionId"')


def browser(token: str) -> Behaved:
    """Asks who it is, on a connection that is kept."""
    head = f"GET /api/v1/auth/me HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
    return Behaved(b"", head.encode(), b'"createdAt"')


async def gather(ports: Ports, token: str, each: int) -> dict[str, list[Behaved]]:
    """So many of each kind."""
    found: dict[str, list[Behaved]] = {"tcp": [], "rest": []}
    for number in range(each):
        for kind, port, made in (
            ("tcp", ports.tcp, device(token, number)),
            ("rest", ports.http, browser(token)),
        ):
            client = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, port), made)
            client.begin(EVERY * number / each)
            found[kind].append(client)
    return found
