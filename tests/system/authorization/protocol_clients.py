"""Clients of one principal on every protocol: each does an operation and gives its outcome, `OK` or an error's name."""

from __future__ import annotations

from typing import Any

import treq
from attrs import define
from twisted.internet.defer import Deferred

from ...live.clients import Address, Device, Rest, WebSocket
from ..toy_wire.client import ToyClient
from .model import OK, Principal

# TCP and REST send an error's number (docs/common.md).
NAMES = {
    1: "INVALID_INPUT",
    2: "VALIDATION_ERROR",
    3: "NOT_FOUND",
    4: "UNAUTHORIZED",
    5: "FORBIDDEN",
    6: "CONFLICT",
    7: "RATE_LIMITED",
}


@define(eq=False)
class ProtocolClients:
    """A request for each operation on REST and GraphQL, one connection for all on the others."""

    principal: Principal
    address: Address
    rest: Rest
    socket: WebSocket
    device: Device
    toy: ToyClient  # of a protocol that the package does not know

    @classmethod
    async def open(cls, principal: Principal, address: Address, toy_port: int) -> ProtocolClients:
        socket, device = await WebSocket.open(address), await Device.open(address)
        toy = await ToyClient.connect(toy_port)
        if principal.token is not None:
            await socket.ask(type="auth", token=principal.token)
            await device.ask(0x01, token=principal.token)
            await toy.ask(f"AUTH {principal.token}")
        return cls(principal, address, Rest(address, principal.token), socket, device, toy)

    async def close(self) -> None:
        await self.socket.close()
        await self.device.close()
        await self.toy.close()

    # REST and GraphQL.

    async def by_rest(self, method: str, path: str, body: Any = None) -> str:
        _, answer = await self.rest.ask(method, f"/api/v1{path}", body)
        if answer is None or answer["success"]:
            return OK
        return NAMES[answer["error"]["code"]]

    async def by_graphql(self, operation: str) -> str:
        answer = await self.rest.graphql(operation)
        errors = answer.get("errors") if isinstance(answer, dict) else None
        return str(errors[0]["extensions"]["code"]) if errors else OK

    # Topics.

    async def publish(self, topic: str) -> dict[str, str]:
        fields = {"data": 1}
        return {
            "rest": await self.by_rest("POST", f"/topics/{topic}", fields),
            "graphql": await self.by_graphql(
                f'mutation {{ publish(topic: "{topic}", data: 1) {{ topic }} }}'
            ),
            "websocket": await self._by_websocket(type="message", topic=topic, data=1),
            "tcp": await self._by_tcp(0x20, topic=topic, content=1),
            "toy": await self._by_toy(f"PUB {topic} 1"),
        }

    async def subscribe(self, pattern: str, after: str | None) -> dict[str, str]:
        more = {} if after is None else {"after": after}
        query = "" if after is None else f"?after={after}"
        argument = "" if after is None else f', after: "{after}"'
        operation = f'subscription {{ topic(pattern: "{pattern}"{argument}) {{ topic }} }}'
        found = {
            "rest": await self._stream("GET", f"/api/v1/topics/{pattern}/events{query}"),
            "graphql": await self._stream("POST", "/graphql", {"query": operation}),
            "websocket": await self._by_websocket(type="subscribe", topic=pattern, **more),
            "tcp": await self._by_tcp(0x10, topic=pattern, **more),
            "toy": await self._by_toy(f"SUB {pattern} {after or ''}".rstrip()),
        }
        if found["websocket"] == OK:
            await self._by_websocket(type="unsubscribe", topic=pattern)
        if found["tcp"] == OK:
            await self._by_tcp(0x11, topic=pattern)
        if found["toy"] == OK:
            await self._by_toy(f"UNSUB {pattern}")
        return found

    async def _by_websocket(self, **fields: Any) -> str:
        """The outcome of one command; deliveries in between are dropped."""
        self.socket.say(id="this", **fields)
        while True:
            reply = await self.socket.inbox.next()
            if reply.get("id") == "this":
                return str(reply["name"]) if reply["type"] == "error" else OK

    async def _by_tcp(self, kind: int, **fields: Any) -> str:
        """The outcome of one frame; deliveries in between are dropped."""
        self.device.say(kind, id="this", **fields)
        while True:
            reply_kind, reply = await self.device.inbox.next()
            if reply_kind == 0xFF:
                return NAMES[int(reply["code"])]
            if reply_kind in (0x12, 0x13, 0x22):
                return OK

    async def _by_toy(self, line: str) -> str:
        kind, *words = (await self.toy.ask(line)).split(" ")
        return OK if kind == OK else words[0]

    async def subscription(self, field: str) -> str:
        return await self._stream("POST", "/graphql", {"query": f"subscription {{ {field} {{ id }} }}"})

    async def _stream(self, method: str, path: str, body: Any = None) -> str:
        """The outcome of opening an event stream, which may be an error inside the stream."""
        response = await treq.request(
            method,
            self.address.url(path),
            agent=self.rest.agent(self.address),
            headers={**self.rest.headers, "Accept": "text/event-stream"},
            unbuffered=True,
            **({} if body is None else {"json": body}),
        )
        if "text/event-stream" not in response.headers.getRawHeaders("content-type", [""])[0]:
            answer = await response.json()
            errors = answer.get("errors")
            return str(errors[0]["extensions"]["code"]) if errors else NAMES[answer["error"]["code"]]
        beginning = StreamBeginning()
        response.original.deliverBody(beginning)
        await self.rest.ask("GET", "/health/live")  # an error has been written before this is answered
        return beginning.outcome()


class StreamBeginning:
    """Reads what a stream begins with, then closes it."""

    def __init__(self) -> None:
        self.text = b""
        self.ended: Deferred[None] = Deferred()
        self.transport: Any = None

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.text += data

    def connectionLost(self, reason: Any) -> None:
        self.ended.callback(None)

    def outcome(self) -> str:
        if not self.ended.called:
            self.transport.stopProducing()
        for name in NAMES.values():
            if f'"{name}"'.encode() in self.text:
                return name
        return OK
