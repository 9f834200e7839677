"""A framed TCP connection that only waits for some bytes to come by."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

from ...ledger.http import HOST
from ...tcp.wire import frame
from ...timing import RESCUE


class Device(Protocol):
    def __init__(self) -> None:
        self._tail = b""
        self._wanted: tuple[bytes, Deferred[None]] | None = None

    @classmethod
    async def open(cls, port: int, token: str) -> Device:
        endpoint = TCP4ClientEndpoint(reactor, HOST, port, timeout=RESCUE)
        device: Device = await connectProtocol(endpoint, cls())
        device.say(frame(0x01, token=token))
        await device.heard(b'"userId"')
        return device

    def say(self, data: bytes) -> None:
        line: Any = self.transport
        line.write(data)

    def heard(self, wanted: bytes) -> Deferred[None]:
        """Fires once `wanted` has come, from now on."""
        self._tail, self._wanted = b"", (wanted, Deferred())
        return self._wanted[1]

    def dataReceived(self, data: bytes) -> None:
        if self._wanted is None:
            return
        wanted, heard = self._wanted
        data = self._tail + data
        self._tail = data[-len(wanted) :]
        if wanted in data:
            self._wanted = None
            heard.callback(None)

    def leave(self) -> None:
        line: Any = self.transport
        line.abortConnection()
