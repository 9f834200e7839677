"""Clients with nothing but blocking sockets, which leave no garbage of their own: what each of our users does, and how it ends."""

from __future__ import annotations

import json
import socket
import ssl
import zlib
from contextlib import suppress
from typing import Any

from attrs import define, field

from tests.timing import RESCUE

from .clients import frame

SUBPROTOCOL = "graphql-transport-ws"
AUTH, SUBSCRIBE, UNSUBSCRIBE, MESSAGE, PING = 0x01, 0x10, 0x11, 0x20, 0x30


@define(eq=False)
class Visitor:
    """One connection; `reset` and `close` end it, and `half_close` does by half."""

    _socket: socket.socket
    _unread: bytes = field(default=b"", init=False)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read_until(self, *marks: bytes) -> bytes:
        """All that comes up to the last of `marks`, in whatever order they are."""
        while not all(mark in self._unread for mark in marks):
            data = self._socket.recv(65536)
            assert data, f"{marks} did not come: {self._unread!r}"
            self._unread += data
        end = max(self._unread.index(mark) + len(mark) for mark in marks)
        came, self._unread = self._unread[:end], self._unread[end:]
        return came

    def read_to_end(self) -> bytes:
        came, self._unread = self._unread, b""
        try:
            while data := self._socket.recv(65536):
                came += data
        except ConnectionResetError:
            pass
        return came

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()

    # HTTP.

    def request(self, method: str, path: str, body: Any = None, token: str = "", **headers: str) -> None:
        """`headers` with an underscore for each hyphen; a `body` is sent as JSON."""
        fields = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = b"" if body is None else json.dumps(body).encode()
        if token:
            fields["Authorization"] = f"Bearer {token}"
        if data:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)

    def ask(self, status: int, method: str, path: str, body: Any = None, **options: str) -> bytes:
        """A request that is answered with `status`, in whole; returns the body of its answer."""
        self.request(method, path, body, **options)
        return self.read_response(status)

    def read_response(self, status: int) -> bytes:
        while b"\r\n\r\n" not in self._unread:
            data = self._socket.recv(65536)
            assert data, self._unread
            self._unread += data
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status), (head, rest)
        size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0] or 0)
        while len(rest) < size:
            data = self._socket.recv(65536)
            assert data, rest
            rest += data
        self._unread = rest[size:]
        return rest[:size]

    # WebSocket.

    def upgrade(self, path: str, status: int = 101, **headers: str) -> None:
        """The handshake, which is answered with `status`."""
        fields = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec_WebSocket_Version": "13",
            "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        }
        self.ask(status, "GET", path, **fields | headers)

    def say(self, **fields: Any) -> None:
        self.send(websocket_frame(0x81, json.dumps(fields).encode()))

    def say_compressed(self, **fields: Any) -> None:
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(json.dumps(fields).encode()) + deflate.flush(zlib.Z_SYNC_FLUSH)
        self.send(websocket_frame(0xC1, data[:-4]))

    def say_goodbye(self) -> None:
        """The closing handshake, to its end."""
        with suppress(ConnectionError):  # the server has begun it, and has ended it
            self.send(websocket_frame(0x88, b"\x03\xe8"))
        self.read_to_end()
        self.close()

    # Framed TCP.

    def tell(self, kind: int, **fields: Any) -> None:
        self.send(frame(kind, **fields))


def websocket_frame(first: int, payload: bytes) -> bytes:
    """With a mask that changes nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first]) + length + bytes(4) + payload


@define(eq=False)
class Place:
    """Where visitors connect to, and the account that they may use."""

    http: int
    tcp: int
    metrics: int
    trust: ssl.SSLContext | None = None
    token: str = ""
    email: str = ""
    password: str = ""
    cursor: str = ""  # from which something is replayed
    _sessions: list[str] = field(factory=list, init=False)

    def connect(self, port: int) -> Visitor:
        connected: socket.socket = socket.create_connection(("127.0.0.1", port), RESCUE)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.trust is not None:
            connected = self.trust.wrap_socket(connected, server_hostname="localhost")
        return Visitor(connected)

    def open_sessions(self, count: int) -> None:
        """To be used up by `session`."""
        visitor = self.connect(self.http)
        for _ in range(count):
            login = {"email": self.email, "password": self.password}
            answer = visitor.ask(200, "POST", "/api/v1/auth/login", login)
            self._sessions.append(json.loads(answer)["data"]["token"])
        visitor.close()

    def session(self) -> str:
        """The token of a session that nobody else uses."""
        return self._sessions.pop()
