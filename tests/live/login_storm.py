"""A storm of logins with wrong passwords: of many accounts, from many addresses, as fast as is asked for."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from ..timing import RESCUE

reactor: Any = installed

HOST = "127.0.0.1"
ADDRESSES = 250
ANSWERS = {200: "in", 401: "wrong", 429: "limited", 503: "busy", 0: "no answer"}


@define(eq=False)
class Attempt(Protocol):
    """One, on a connection of its own; `status` fires with that of the answer, 0 for none."""

    _said: bytes
    status: Deferred[int] = field(factory=Deferred, init=False)
    _heard: bytes = field(default=b"", init=False)

    def connectionMade(self) -> None:
        line: Any = self.transport
        line.write(self._said)

    def dataReceived(self, data: bytes) -> None:
        self._heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        words = self._heard.split(b" ", 2)
        self.status.callback(int(words[1]) if len(words) > 1 else 0)


def request(number: int) -> bytes:
    body = json.dumps({"email": f"victim{number % 997}@example.org", "password": "Guessed1!"}).encode()
    head = "POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + fields).encode() + body


@define(eq=False)
class Storm:
    _port: int
    _addresses: int = ADDRESSES
    answers: Counter[str] = field(factory=Counter, init=False)  # how many ended how
    under_way: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)
    _calls: LoopingCall | None = field(default=None, init=False)

    def start(self, each: float) -> None:
        """`each` attempts a second."""
        self._calls = LoopingCall(lambda: Deferred.fromCoroutine(self.attempt()) and None)
        self._calls.start(1 / each)

    def stop(self) -> None:
        assert self._calls is not None
        self._calls.stop()

    async def attempt(self) -> None:
        self._number += 1
        self.under_way += 1
        source = f"127.0.2.{1 + self._number % self._addresses}"
        endpoint = TCP4ClientEndpoint(reactor, HOST, self._port, bindAddress=(source, 0), timeout=RESCUE)
        try:
            attempt: Attempt = await connectProtocol(endpoint, Attempt(request(self._number)))
            status = await attempt.status
        except Exception:  # of the connection: nothing was answered
            status = 0
        self.under_way -= 1
        self.answers[ANSWERS.get(status, str(status))] += 1
