"""A client's end of a WebSocket, byte by byte: nothing of it trusts the library under test."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.testing import StringTransport

MASK = b"\x01\x02\x03\x04"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def handshake(*lines: str, **changes: str | None) -> bytes:
    """The opening handshake, with headers changed, left out (`None`) or added."""
    headers: dict[str, str | None] = {
        "Host": "example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    written = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join(["GET /ws HTTP/1.1", *written, *lines, "", ""]).encode()


def frame(opcode: int, payload: bytes = b"", fin: bool = True, rsv: int = 0, mask: bool = True) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    size = len(payload)
    bit = 0x80 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = (MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + MASK + masked


def text(**fields: Any) -> bytes:
    return frame(TEXT, json.dumps(fields).encode())


def close(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason.encode())


@frozen
class Frame:
    opcode: int
    payload: bytes
    rsv: int = 0


def frames(data: bytes) -> list[Frame]:
    """The frames that a server sent: whole, unmasked and unfragmented."""
    found = []
    while data:
        assert data[0] & 0x80 and not data[1] & 0x80
        size, at = data[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        assert len(data) >= at + size, "half a frame"
        found.append(Frame(data[0] & 15, data[at : at + size], data[0] >> 4 & 7))
        data = data[at + size :]
    return found


def spoken(data: bytes) -> list[Any]:
    """Messages as values without their timestamps, a Close as ("close", code, reason)."""
    said: list[Any] = []
    for found in frames(data):
        if found.opcode == TEXT:
            fields = json.loads(found.payload)
            assert fields.pop("timestamp", "Z").endswith("Z")
            said.append(fields)
        elif found.opcode == CLOSE:
            code = int.from_bytes(found.payload[:2], "big") if found.payload else None
            said.append(("close", code, found.payload[2:].decode()))
        else:
            said.append({PING: "ping", PONG: "pong"}[found.opcode] + " " + found.payload.decode())
    return said


class Wire(StringTransport):
    """A transport that records which of its halves are closed, and refuses a second producer."""

    half_closed = False
    aborted = False
    reading = True

    def loseWriteConnection(self) -> None:
        assert self.producer is None, "a connection with a producer never closes"
        self.half_closed = True

    def loseConnection(self) -> None:
        assert self.producer is None, "a connection with a producer never closes"
        super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def unregisterProducer(self) -> None:
        self.producer = None

    def take(self) -> bytes:
        data = self.value()
        self.clear()
        return data


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """`data` cut at the given places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
