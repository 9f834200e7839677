"""The two WebSocket endpoints, which must both follow RFC 6455, each with its own handshake and authentication."""

from __future__ import annotations

import json
from typing import Any, Callable

from twisted.internet.task import Clock

from multiproto.graphql.transport.websocket import MAX_MESSAGE_SIZE, GraphQLWebSocketFactory
from multiproto.websocket.protocol import WebSocketFactory

from ..fakes import make_core
from .wire import TEXT, Wire, frame, handshake, spoken, text

ASK = frame(TEXT, b'{"type": "ping"}')
ANSWER = {"type": "pong"}


def nobody(origin: str) -> bool:
    return False


class Endpoint:
    """One open connection to an endpoint; to be mixed into a test case with a table of tests."""

    max_message: int  # bytes
    auth: bytes
    agreed: dict[str, str] = {}  # headers of the answer to a handshake, besides RFC 6455's own
    extensions: str | None = None  # offered
    forbidden: str | int  # how a refusal says it

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock)
        self.line = self.house.admission()
        self.protocol, self.wire = self.connect()

    def factory(self, allowed_origin: Callable[[str], bool] = nobody) -> Any:
        raise NotImplementedError

    def handshake(self, *lines: str, **changes: str | None) -> bytes:
        return handshake(*lines, **changes)

    def told(self, body: bytes) -> tuple[str | int, str]:
        """(code, message) of a refused handshake."""
        raise NotImplementedError

    def bare(self, allowed_origin: Callable[[str], bool] = nobody) -> tuple[Any, Wire]:
        """A connection before its handshake."""
        protocol, wire = self.factory(allowed_origin).buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        return protocol, wire

    def connect(self) -> tuple[Any, Wire]:
        protocol, wire = self.bare()
        protocol.dataReceived(self.handshake(Sec_WebSocket_Extensions=self.extensions))
        self.assertIn(b"HTTP/1.1 101 ", wire.take())
        return protocol, wire

    def say(self, *data: bytes) -> list[Any]:
        for piece in data:
            self.protocol.dataReceived(piece)
        return spoken(self.wire.take())

    def ended(self, *data: bytes) -> list[Any]:
        """The same, and of Close frames nothing but the code."""
        return [said[:2] if isinstance(said, tuple) else said for said in self.say(*data)]


class Events(Endpoint):
    """/ws"""

    max_message = 256
    auth = text(type="auth", token="token-ann")
    forbidden = 5

    def factory(self, allowed_origin: Callable[[str], bool] = nobody) -> WebSocketFactory:
        return WebSocketFactory(
            self.house.hub, self.line, self.clock, self.clock.seconds, allowed_origin, self.max_message
        )

    def told(self, body: bytes) -> tuple[str | int, str]:
        failure = json.loads(body)
        self.assertEqual((set(failure), failure["success"]), ({"success", "error", "timestamp"}, False))
        return failure["error"]["code"], failure["error"]["message"]


class Operations(Endpoint):
    """/graphql"""

    max_message = MAX_MESSAGE_SIZE
    auth = text(type="connection_init", payload={"authorization": "Bearer token-ann"})
    agreed = {"Sec-WebSocket-Protocol": "graphql-transport-ws"}
    forbidden = "FORBIDDEN"

    def factory(self, allowed_origin: Callable[[str], bool] = nobody) -> GraphQLWebSocketFactory:
        operations: Any = None  # no test here begins one
        return GraphQLWebSocketFactory(operations, self.house.hub, self.line, self.clock, allowed_origin)

    def handshake(self, *lines: str, **changes: str | None) -> bytes:
        return handshake(*lines, **{"Sec_WebSocket_Protocol": "graphql-transport-ws", **changes})

    def told(self, body: bytes) -> tuple[str | int, str]:
        [error] = json.loads(body)["errors"]
        return error["extensions"]["code"], error["message"]
