"""What is sent faster than its rate, on the default limits: it is slowed, and all of it arrives in order."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any, Callable, Iterator

from attrs import evolve
from twisted.internet.defer import gatherResults
from twisted.internet.threads import deferToThread

from multiproto.config import Config
from multiproto.config.settings import RateLimitConfig
from multiproto.core.ratelimit.token_bucket import Rate

from ..rfc6455.wire import TEXT, frame, frames
from ..timing import RESCUE
from .running import LiveCase
from .visitors import Visitor

COUNT = 5000  # publications at once, with one login
GRAPHQL_COUNT = 1500
GET, HEALTH = (f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for path in ("/", "/health"))


class TcpSocket:
    """A client with nothing but a socket, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), RESCUE)
        self.file = self.socket.makefile("rb")

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    @staticmethod
    def frame(kind: int, **fields: Any) -> bytes:
        body = bytes([kind]) + json.dumps(fields).encode()
        return struct.pack(">I", len(body)) + body

    def read(self) -> tuple[int, Any]:
        (size,) = struct.unpack(">I", self.file.read(4))
        body = self.file.read(size)
        return body[0], json.loads(body[1:])

    def replies(self) -> Iterator[tuple[int, Any]]:
        """What the server sends, without its pings."""
        while True:
            kind, fields = self.read()
            if kind != 0x30:
                yield kind, fields


class WebSocket(TcpSocket):
    def __init__(self, port: int, path: str, subprotocol: str = "") -> None:
        super().__init__(port)
        offered = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
        self.send(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{offered}"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while self.file.readline() != b"\r\n":
            pass

    def messages(self) -> Iterator[Any]:
        """What the server says, without its pings."""
        while True:
            head = self.file.read(2)
            if head[1] == 126:
                head += self.file.read(2)
            size = head[1] if len(head) == 2 else int.from_bytes(head[2:], "big")
            [found] = frames(head + self.file.read(size))
            if found.opcode == TEXT and (message := json.loads(found.payload)).get("type") != "ping":
                yield message


def message(**fields: Any) -> bytes:
    return frame(TEXT, json.dumps(fields).encode())


class SlowedTests(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        connect_rate = config.rate_limits.connect_rate
        return evolve(config, rate_limits=evolve(RateLimitConfig(), connect_rate=connect_rate))

    async def test_all_is_delivered_in_order(self) -> None:
        """By TCP, WebSocket and GraphQL at the same time; each user has a rate."""
        tokens = [(await self.person(name)).rest.token for name in ("ann", "bob", "carol")]
        clients = (self.by_tcp, self.by_websocket, self.by_graphql)
        told = await gatherResults(
            [deferToThread(client, token) for client, token in zip(clients, tokens, strict=True)]
        )
        everything = list(range(COUNT))
        self.assertEqual(told, [everything, everything, everything[:GRAPHQL_COUNT]])

    def by_tcp(self, token: str) -> list[int]:
        client = TcpSocket(self.address.tcp)
        client.send(client.frame(0x01, token=token), client.frame(0x10, topic="tcp"))
        client.send(*(client.frame(0x20, topic="tcp", content=n) for n in range(COUNT)))
        replies = client.replies()
        self.assertEqual([next(replies)[0] for _ in range(2)], [0x02, 0x12])
        return [next(replies)[1]["content"] for _ in range(COUNT)]

    def by_websocket(self, token: str) -> list[int]:
        client = WebSocket(self.address.http, "/ws")
        client.send(message(type="auth", token=token), message(type="subscribe", topic="ws"))
        client.send(*(message(type="message", topic="ws", data=n) for n in range(COUNT)))
        replies = client.messages()
        self.assertEqual([next(replies)["type"] for _ in range(2)], ["auth_success", "subscribed"])
        return [next(replies)["data"] for _ in range(COUNT)]

    def by_graphql(self, token: str) -> list[int]:
        client = WebSocket(self.address.http, "/graphql", "graphql-transport-ws")
        client.send(message(type="connection_init", payload={"authorization": f"Bearer {token}"}))
        replies = client.messages()
        self.assertEqual(next(replies)["type"], "connection_ack")
        publish = 'mutation($n: JSON) { publish(topic: "g", data: $n) { data } }'
        client.send(
            *(
                message(type="subscribe", id=f"{n}", payload={"query": publish, "variables": {"n": n}})
                for n in range(GRAPHQL_COUNT)
            )
        )
        answers = (each for each in replies if each["type"] != "complete")
        return [next(answers)["payload"]["data"]["publish"]["data"] for _ in range(GRAPHQL_COUNT)]


class ConnectingTests(LiveCase):
    """A script that opens a connection for each request is slowed to the rate, and never refused."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, rate_limits=evolve(config.rate_limits, connect_rate=Rate(20, 5)))

    async def test_each_waits_for_its_turn(self) -> None:
        for visit in (self.by_http, self.by_websocket, self.by_tcp):
            began = time.monotonic()
            await deferToThread(_repeat, 20, visit)
            self.assertGreater(time.monotonic() - began, 0.6, visit)

    async def test_those_that_leave_meanwhile_cost_nothing_further(self) -> None:
        def leave() -> None:
            for port, said in ((self.address.http, GET), (self.address.tcp, TcpSocket.frame(0x30))):
                visitors = [Visitor(socket.create_connection(("127.0.0.1", port))) for _ in range(60)]
                for visitor in visitors:
                    visitor.send(said)
                for visitor in visitors[5:]:
                    visitor.reset()

        await deferToThread(leave)
        began = time.monotonic()
        await deferToThread(_repeat, 1, self.by_http)
        await deferToThread(_repeat, 1, self.by_tcp)
        self.assertLess(time.monotonic() - began, 2)  # and not 2.8 s

    async def test_health_checks_do_not_wait(self) -> None:
        await deferToThread(_repeat, 10, self.by_http)
        began = time.monotonic()
        await deferToThread(_repeat, 30, lambda: self.by_http(HEALTH))
        self.assertLess(time.monotonic() - began, 1.2)  # and not 1.75 s

    def by_http(self, request: bytes = GET) -> None:
        visitor = Visitor(socket.create_connection(("127.0.0.1", self.address.http)))
        visitor.send(request)
        visitor.read_until(b"HTTP/1.1 200 OK")
        visitor.close()

    def by_websocket(self) -> None:
        visitor = Visitor(socket.create_connection(("127.0.0.1", self.address.http)))
        visitor.upgrade("/ws")
        visitor.close()

    def by_tcp(self) -> None:
        visitor = Visitor(socket.create_connection(("127.0.0.1", self.address.tcp)))
        visitor.send(TcpSocket.frame(0x30))
        visitor.read_until(b"\x31{")
        visitor.close()


def _repeat(times: int, visit: Callable[[], None]) -> None:
    for _ in range(times):
        visit()
