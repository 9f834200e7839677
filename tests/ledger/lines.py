"""How a subscription is followed on each of the four protocols, with blocking sockets.

Each `follow_…` subscribes and then gives what is said: `Began`, `Came`,
`CaughtUp`, and `None` at least every `TICK`, so that its caller can do
something else.  It ends when the connection does, or raises `OSError` or
`WebSocketException`; closing the generator hangs up.  Raises `Denied` where the
token is not good (any more).
"""

from __future__ import annotations

import json
import socket
from contextlib import closing
from typing import Any, Callable, Iterator, Union
from urllib.parse import quote

from attrs import field, frozen
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from .http import HOST, PATIENCE

TICK = 0.2  # seconds
DENIED = {4401, 4403}  # close codes: the token is not good


class Denied(Exception):
    """The server does not take this token."""


@frozen
class Ports:
    http: int
    tcp: int
    metrics: int


@frozen
class Began:
    cursor: str | None
    recovered: bool | None


@frozen
class Came:
    topic: str
    content: object = field(repr=False)
    cursor: str | None  # none: a live topic


@frozen
class CaughtUp:
    cursor: str | None


Said = Union[Began, Came, CaughtUp, None]
Follow = Callable[[Ports, str, str, "str | None"], Iterator[Said]]  # (ports, token, pattern, after)


def follow_websocket(ports: Ports, token: str, pattern: str, after: str | None) -> Iterator[Said]:
    with open_websocket(f"ws://{HOST}:{ports.http}/ws") as connection:
        connection.send(json.dumps({"type": "auth", "token": token}))
        connection.send(
            json.dumps({"type": "subscribe", "topic": pattern} | ({"after": after} if after else {}))
        )
        for said in _messages(connection):
            match said and said["type"]:
                case None:
                    yield None
                case "auth_error" if said["code"] == 401:
                    raise Denied(said["message"])
                case "auth_error" | "error":
                    return
                case "subscribed":
                    yield Began(said.get("cursor"), said.get("recovered"))
                case "message":
                    yield Came(said["topic"], said["data"], said.get("cursor"))
                case "caught_up":
                    yield CaughtUp(said.get("cursor"))


def follow_graphql(ports: Ports, token: str, pattern: str, after: str | None) -> Iterator[Said]:
    """Its protocol has no word for "subscribed": the first result says whether it recovered."""
    query = "subscription($p: String!, $a: String) { topic(pattern: $p, after: $a) { topic data cursor } }"
    with open_websocket(f"ws://{HOST}:{ports.http}/graphql", "graphql-transport-ws") as connection:
        init = {"type": "connection_init", "payload": {"authorization": f"Bearer {token}"}}
        payload = {"query": query, "variables": {"p": pattern, "a": after}}
        connection.send(json.dumps(init))
        began = False
        for said in _messages(connection):
            match said and said["type"]:
                case None:
                    yield None
                case "connection_ack":
                    connection.send(json.dumps({"type": "subscribe", "id": "1", "payload": payload}))
                case "ping":
                    connection.send(json.dumps({"type": "pong"}))
                case "error" | "complete":
                    return
                case "next":
                    came = said["payload"]["data"]["topic"]
                    if not began:
                        began = True
                        yield Began(None, said["payload"].get("extensions", {}).get("recovered"))
                    yield Came(came["topic"], came["data"], came["cursor"])


def follow_tcp(ports: Ports, token: str, pattern: str, after: str | None) -> Iterator[Said]:
    with closing(socket.create_connection((HOST, ports.tcp), PATIENCE)) as connection:
        say(connection, 0x01, token=token)
        say(connection, 0x10, topic=pattern, **({"after": after} if after else {}))
        buffer = b""
        for data in _chunks(connection):
            buffer += data or b""
            while len(buffer) >= 4 and len(buffer) >= 4 + (size := int.from_bytes(buffer[:4], "big")):
                kind, said, buffer = buffer[4], json.loads(buffer[5 : 4 + size]), buffer[4 + size :]
                match kind:
                    case 0x03 if said["code"] == "4":
                        raise Denied(said["error"])
                    case 0x03 | 0xFF:
                        return
                    case 0x12:
                        yield Began(said.get("cursor"), said.get("recovered"))
                    case 0x14:
                        yield CaughtUp(said.get("cursor"))
                    case 0x21:
                        yield Came(said["topic"], said["content"], said.get("cursor"))
                    case 0x30:
                        say(connection, 0x31)
            yield None


def follow_rest(ports: Ports, token: str, pattern: str, after: str | None) -> Iterator[Said]:
    """Server-sent events.  HTTP/1.0, so that the body is the stream as it is, with no chunks around it."""
    resume = f"Last-Event-ID: {after}\r\n" if after else ""
    request = (
        f"GET /api/v1/topics/{quote(pattern, safe='*')}/events HTTP/1.0\r\nHost: {HOST}\r\n"
        f"Accept: text/event-stream\r\nAuthorization: Bearer {token}\r\n{resume}\r\n"
    )
    with closing(socket.create_connection((HOST, ports.http), PATIENCE)) as connection:
        connection.sendall(request.encode())
        buffer, head = b"", b""
        for data in _chunks(connection):
            buffer += data or b""
            if not head and b"\r\n\r\n" in buffer:
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                if head.split()[1] in (b"401", b"403"):
                    raise Denied(head.splitlines()[0].decode())
            if head:
                *blocks, buffer = buffer.split(b"\n\n")
                yield from filter(None, map(_event, blocks))
            yield None


LINES: dict[str, Follow] = {
    "websocket": follow_websocket,
    "tcp": follow_tcp,
    "rest": follow_rest,
    "graphql": follow_graphql,
}


def _event(block: bytes) -> Said:
    fields = dict(line.partition(": ")[::2] for line in block.decode().splitlines())
    said: Any = json.loads(fields.get("data") or "null")
    match fields.get("event"):
        case "subscribed":
            return Began(said.get("cursor"), said.get("recovered"))
        case "message":
            return Came(said["topic"], said["data"], said.get("cursor"))
        case "caught_up":
            return CaughtUp(said.get("cursor"))
    return None


def open_websocket(url: str, *protocols: str) -> ClientConnection:
    """Raises `OSError`, `WebSocketException`."""
    return connect(
        url,
        subprotocols=protocols or None,  # type: ignore[arg-type]
        compression=None,
        ping_interval=None,
        open_timeout=PATIENCE,
        close_timeout=0.1,
        max_size=None,
    )


def _messages(connection: ClientConnection) -> Iterator[Any]:
    """JSON of each message, and `None` for silence."""
    while True:
        try:
            yield json.loads(connection.recv(timeout=TICK))
        except TimeoutError:
            yield None
        except ConnectionClosed as end:
            if end.rcvd is not None and end.rcvd.code in DENIED:
                raise Denied(end.rcvd.reason) from None
            return


def _chunks(connection: socket.socket) -> Iterator[bytes | None]:
    """What comes, and `None` for silence."""
    connection.settimeout(TICK)
    while True:
        try:
            data = connection.recv(65536)
        except TimeoutError:
            yield None
            continue
        if not data:
            return
        yield data


def say(connection: socket.socket, kind: int, **fields: object) -> None:
    body = bytes([kind]) + json.dumps(fields).encode()
    connection.sendall(len(body).to_bytes(4, "big") + body)
