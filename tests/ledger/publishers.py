"""Publishing with an acknowledgement over WebSocket and TCP, one at a time, on a connection that is kept."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from attrs import define, field
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from .http import DECLINED, HOST, PATIENCE, Unanswered, Unsent
from .lines import open_websocket, say
from .records import FAILED, OK, UNKNOWN

if TYPE_CHECKING:
    from .sender import Outcome, Thing

# TCP says the number of docs/common.md#error-codes; these are the ones behind which anything may have been done.
DOUBTFUL = {"50", "51", "52", "53", "54"}


@define(eq=False)
class SocketPublisher:
    _port: int
    _token: str
    _connection: ClientConnection | None = field(default=None, init=False)

    def send(self, thing: Thing, key: str | None) -> Outcome:
        if self._connection is None:
            self._connection = self._open()
        ask = {"type": "message", "id": "1", "topic": thing.topic, "data": thing.payload} | _key(key)
        try:
            self._connection.send(json.dumps(ask))
            said = json.loads(self._connection.recv(PATIENCE))
        except (OSError, WebSocketException) as fault:
            self._connection.close()
            self._connection = None
            raise Unanswered(str(fault)) from None
        if said["type"] == "ack":
            return OK, said.get("cursor")
        return FAILED if said["code"] in DECLINED else UNKNOWN, None

    def _open(self) -> ClientConnection:
        try:
            connection = open_websocket(f"ws://{HOST}:{self._port}/ws")
            connection.send(json.dumps({"type": "auth", "token": self._token}))
            if (said := json.loads(connection.recv(PATIENCE)))["type"] == "auth_success":
                return connection
            connection.close()
        except (OSError, WebSocketException) as fault:
            raise Unsent(str(fault)) from None
        raise Unsent(str(said))


@define(eq=False)
class TcpPublisher:
    _port: int
    _token: str
    _connection: socket.socket | None = field(default=None, init=False)

    def send(self, thing: Thing, key: str | None) -> Outcome:
        if self._connection is None:
            self._connection = self._open()
        try:
            say(self._connection, 0x20, id="1", topic=thing.topic, content=thing.payload, **_key(key))
            kind, said = _next(self._connection)
        except OSError as fault:
            self._connection.close()
            self._connection = None
            raise Unanswered(str(fault)) from None
        if "id" not in said:  # no answer: a farewell
            self._connection.close()
            self._connection = None
            raise Unanswered(str(said))
        if kind == 0x22:
            return OK, said.get("cursor")
        return UNKNOWN if said["code"] in DOUBTFUL else FAILED, None

    def _open(self) -> socket.socket:
        try:
            connection = socket.create_connection((HOST, self._port), PATIENCE)
            say(connection, 0x01, token=self._token)
            kind, said = _next(connection)
            if kind == 0x02:
                return connection
            connection.close()
        except OSError as fault:
            raise Unsent(str(fault)) from None
        raise Unsent(str(said))


def _key(key: str | None) -> dict[str, str]:
    return {} if key is None else {"key": key}


def _next(connection: socket.socket) -> tuple[int, Any]:
    """The next frame that is an answer."""
    while True:
        body = _exactly(connection, int.from_bytes(_exactly(connection, 4), "big"))
        if body[0] != 0x30:
            return body[0], json.loads(body[1:])
        say(connection, 0x31)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("the server hung up")
        data += more
    return data
