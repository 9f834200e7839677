"""A device's transport in memory, and its frames."""

from __future__ import annotations

import json
import socket
from typing import Any

from twisted.internet.testing import StringTransport

Said = list[tuple[int, Any]]  # (type, payload) of each frame


def frame(kind: int, payload: object = None, **fields: Any) -> bytes:
    text = json.dumps(fields if payload is None else payload).encode()
    return raw(bytes([kind]) + text)


def raw(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def frames(data: bytes) -> Said:
    found = []
    while data:
        end = 4 + int.from_bytes(data[:4], "big")
        assert len(data) >= end, "half a frame"
        found.append((data[4], json.loads(data[5:end])))
        data = data[end:]
    return found


class Wire(StringTransport):
    """A transport that records which of its halves are closed, and can be paused."""

    half_closed = False
    aborted = False
    reading = True
    no_delay = keep_alive = False
    idle: int | None = None  # TCP_KEEPIDLE, seconds
    max_unsent = 0  # TCP_NOTSENT_LOWAT, bytes; 0: as the system has it

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def setTcpKeepAlive(self, enabled: bool) -> None:
        self.keep_alive = enabled

    def getHandle(self) -> Wire:
        return self

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """As the socket's."""
        assert level == socket.IPPROTO_TCP
        if option == socket.TCP_KEEPIDLE:
            self.idle = value
        else:
            assert option == socket.TCP_NOTSENT_LOWAT
            self.max_unsent = value

    def loseWriteConnection(self) -> None:
        assert self.producer is None, "a connection with a producer never closes"
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def said(self) -> Said:
        """The frames since the last call."""
        data = self.value()
        self.clear()
        return frames(data)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at the given places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)])]
