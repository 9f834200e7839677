"""Clients that cost little beside the server: framed TCP, answers told apart by their type alone."""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Deque

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from .server import HOST, TOPIC, Server

AUTH, SUBSCRIBE, SUBSCRIBED, CAUGHT_UP, MESSAGE, DELIVERY = 0x01, 0x10, 0x12, 0x14, 0x20, 0x21
PING, PONG, ERROR = 0x30, 0x31, 0xFF


def frame(kind: int, **fields: object) -> bytes:
    body = bytes([kind]) + json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body


@define(eq=False)
class Device(Protocol):
    deliveries: int = 0
    caught_up: Deferred[None] = field(factory=Deferred)
    _asked: Deque[Deferred[dict[str, Any]]] = field(factory=deque)
    _came: bytes = b""

    @classmethod
    async def open(cls, server: Server, token: str) -> Device:
        device: Device = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, server.tcp), cls())
        await device.ask(frame(AUTH, token=token))
        return device

    def ask(self, said: bytes) -> Deferred[dict[str, Any]]:
        """The fields of the answer to `said`, which may be one of many."""
        answer: Deferred[dict[str, Any]] = Deferred()
        self._asked.append(answer)
        self.transport.write(said)  # type: ignore[union-attr]
        return answer

    async def close(self) -> None:
        gone: Deferred[None] = Deferred()
        self._asked.append(gone)  # type: ignore[arg-type]
        self.transport.loseConnection()  # type: ignore[union-attr]
        await gone

    def dataReceived(self, data: bytes) -> None:
        came, start = self._came + data, 0
        while len(came) - start >= 5:
            end = start + 4 + int.from_bytes(came[start : start + 4], "big")
            if end > len(came):
                break
            self._heard(came[start + 4], came, start + 5, end)
            start = end
        self._came = came[start:]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        while self._asked:
            self._asked.popleft().callback({})

    def _heard(self, kind: int, came: bytes, start: int, end: int) -> None:
        if kind == DELIVERY:
            self.deliveries += 1
        elif kind == CAUGHT_UP:
            self.caught_up.callback(None)
        elif kind == PING:
            self.transport.write(frame(PONG))  # type: ignore[union-attr]
        elif kind == ERROR:
            raise SystemExit(came[start:end].decode())
        elif self._asked:
            self._asked.popleft().callback(json.loads(came[start:end]))


async def gather(server: Server, token: str, count: int) -> list[Device]:
    opening = [Deferred.fromCoroutine(Device.open(server, token)) for _ in range(count)]
    return list(await gatherResults(opening, consumeErrors=True))


async def dismiss(devices: list[Device]) -> None:
    await gatherResults([Deferred.fromCoroutine(device.close()) for device in devices])


def publication(content: object) -> bytes:
    """One that asks for an acknowledgement; on this topic that means: is durable."""
    return frame(MESSAGE, topic=TOPIC, content=content, id=1)
