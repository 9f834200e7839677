"""What clients say on each wire before the generator takes over: handshakes, subscriptions, and frames to repeat."""

from __future__ import annotations

import json
import os
import socket
from base64 import b64encode
from typing import Any, Mapping, Sequence

from .contender import HOST, connect
from .load import STAMP, Frame, Request

MESSAGE_SIZE = 100  # bytes of JSON
TOPIC = "bench.fan"
AUTH, AUTH_SUCCESS, SUBSCRIBE, SUBSCRIBED, CAUGHT_UP = 0x01, 0x02, 0x10, 0x12, 0x14
MESSAGE, SERVER_MESSAGE, MESSAGE_ACK, PING = 0x20, 0x21, 0x22, 0x30
MASK = bytes.fromhex("37fa213d")
# What a browser sends with a request, roughly; with Host and Accept, eleven.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.7,de;q=0.3",
    "Referer": "http://localhost:3000/",
    "DNT": "1",
    "Connection": "keep-alive",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "Priority": "u=4",
}


def content() -> dict[str, str]:
    """One application message: JSON of exactly `MESSAGE_SIZE` bytes, with a stamp."""
    bare = {"n": STAMP.decode(), "text": ""}
    return bare | {"text": "x" * (MESSAGE_SIZE - len(compact(bare)))}


def plain_content() -> dict[str, str]:
    """One as large, for what has its stamp elsewhere."""
    return content() | {"n": "x" * len(STAMP)}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# HTTP.


def request(
    method: str, path: str, expected: bytes, headers: Mapping[str, str] = BROWSER, body: object = None
) -> Request:
    said = b"" if body is None else compact(body)
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(said)}"]
    return Request("\r\n".join([*lines, "", ""]).encode() + said, expected)


# WebSocket.


def websocket(port: int, path: str) -> socket.socket:
    made = connect(port)
    key = b64encode(os.urandom(16)).decode()
    made.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    answer = until(made, b"\r\n\r\n")
    if b" 101 " not in answer.partition(b"\r\n")[0]:
        raise ConnectionError(answer.decode(errors="replace"))
    return made


def ws_frame(payload: bytes) -> Frame:
    """A text frame with a mask that changes every byte, as clients must send it."""
    assert len(payload) < 65536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return Frame(b"\x81" + size + MASK, payload, MASK)


def ws_ask(on: socket.socket, **fields: object) -> dict[str, Any]:
    """The answer to one message."""
    on.sendall(ws_frame(compact(fields)).wire)
    return ws_read(on)


def ws_read(on: socket.socket) -> dict[str, Any]:
    size = exactly(on, 2)[1]
    if size == 126:
        size = int.from_bytes(exactly(on, 2), "big")
    return dict(json.loads(exactly(on, size)))


def ws_session(port: int, token: str) -> socket.socket:
    made = websocket(port, "/ws")
    answer = ws_ask(made, type="auth", token=token)
    assert answer["type"] == "auth_success", answer
    return made


def ws_opening(token: str, pattern: str) -> bytes:
    """AUTH and SUBSCRIBE, the one behind the other; made once where thousands say it."""
    said = {"type": "auth", "token": token}, {"type": "subscribe", "topic": pattern}
    return b"".join(ws_frame(compact(each)).wire for each in said)


def ws_enter(port: int, opening: bytes) -> socket.socket:
    made = websocket(port, "/ws")
    made.sendall(opening)
    answers = [ws_read(made)["type"] for _ in range(2)]
    assert answers == ["auth_success", "subscribed"], answers
    return made


def ws_subscribe(on: socket.socket, pattern: str) -> socket.socket:
    answer = ws_ask(on, type="subscribe", topic=pattern)
    assert answer["type"] == "subscribed", answer
    return on


def ws_subscribe_all(on: socket.socket, patterns: Sequence[str]) -> None:
    """Without waiting for the answer to one before the next."""
    on.sendall(b"".join(ws_frame(compact({"type": "subscribe", "topic": each})).wire for each in patterns))
    for each in patterns:
        answer = ws_read(on)
        assert answer["type"] == "subscribed" and answer["topic"] == each, answer


def ws_message(topic: str) -> Frame:
    return ws_frame(compact({"type": "message", "topic": topic, "data": content()}))


def ws_final(topic: str, ref: str) -> Frame:
    """A message that is acknowledged under `ref`."""
    return ws_frame(compact({"type": "message", "topic": topic, "data": plain_content(), "id": ref}))


# Framed TCP.


def tcp_frame(kind: int, fields: object) -> Frame:
    body = compact(fields)
    return Frame((len(body) + 1).to_bytes(4, "big") + bytes([kind]), body)


def tcp_ask(on: socket.socket, kind: int, **fields: object) -> tuple[int, bytes]:
    on.sendall(tcp_frame(kind, fields).wire)
    return tcp_read(on)


def tcp_read(on: socket.socket) -> tuple[int, bytes]:
    body = exactly(on, int.from_bytes(exactly(on, 4), "big"))
    return body[0], body[1:]


def tcp_publish(on: socket.socket, topic: str, number: int) -> dict[str, Any]:
    """The acknowledgement of one with this number for its stamp."""
    numbered = content() | {"n": f"@@{number:08}"}
    kind, said = tcp_ask(on, MESSAGE, topic=topic, content=numbered, id=1)
    assert kind == MESSAGE_ACK, said
    return dict(json.loads(said))


def tcp_session(port: int, token: str) -> socket.socket:
    made = connect(port)
    kind, said = tcp_ask(made, AUTH, token=token)
    assert kind == AUTH_SUCCESS, said
    return made


def tcp_message(topic: str) -> Frame:
    return tcp_frame(MESSAGE, {"topic": topic, "content": content()})


def tcp_final(topic: str, ref: str) -> Frame:
    """A message that is acknowledged under `ref`."""
    return tcp_frame(MESSAGE, {"topic": topic, "content": plain_content(), "id": ref})


def bare_frame(body: bytes) -> Frame:
    """As the peers have it: a length, and no type."""
    return Frame(len(body).to_bytes(4, "big"), body)


# Brokers.


def mqtt(port: int, subscribe: bool) -> socket.socket:
    made = connect(port)
    name = os.urandom(8).hex().encode()
    made.sendall(_packet(0x10, b"\0\4MQTT\4\2\0\0" + _text(name)))
    assert exactly(made, 4)[3] == 0
    if subscribe:
        made.sendall(_packet(0x82, b"\0\1" + _text(TOPIC.encode()) + b"\0"))
        assert exactly(made, 5)[4] == 0
    return made


def mqtt_message() -> Frame:
    """PUBLISH with QoS 0."""
    said = compact(content())
    whole = _packet(0x30, _text(TOPIC.encode()) + said)
    return Frame(whole[: -len(said)], said)


def _text(words: bytes) -> bytes:
    return len(words).to_bytes(2, "big") + words


def _packet(kind: int, rest: bytes) -> bytes:
    size = len(rest)
    return bytes([kind]) + (bytes([size]) if size < 128 else bytes([size % 128 | 128, size // 128])) + rest


def nats(port: int, subscribe: bool) -> socket.socket:
    made = connect(port)
    until(made, b"\r\n")
    said = b'CONNECT {"verbose":false,"pedantic":false}\r\n'
    made.sendall(said + (f"SUB {TOPIC} 1\r\n".encode() if subscribe else b"") + b"PING\r\n")
    assert until(made, b"\r\n") == b"PONG\r\n"
    return made


def nats_message() -> Frame:
    said = compact(content())
    return Frame(f"PUB {TOPIC} {len(said)}\r\n".encode(), said + b"\r\n")


def redis(port: int, subscribe: bool) -> socket.socket:
    made = connect(port)
    if subscribe:
        made.sendall(_command(b"SUBSCRIBE", TOPIC.encode()))
        until(made, b":1\r\n")
    return made


def redis_message() -> Frame:
    whole = _command(b"PUBLISH", TOPIC.encode(), compact(content()))
    at = whole.index(b"{")
    return Frame(whole[:at], whole[at:])


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


# Reading no more than was asked for: the rest is the generator's.


def exactly(on: socket.socket, size: int) -> bytes:
    came = b""
    while len(came) < size:
        more = on.recv(size - len(came))
        if not more:
            raise ConnectionError("closed")
        came += more
    return came


def until(on: socket.socket, end: bytes) -> bytes:
    while True:
        came = on.recv(65536, socket.MSG_PEEK)
        if not came:
            raise ConnectionError("closed")
        if end in came:
            return exactly(on, came.index(end) + len(end))
