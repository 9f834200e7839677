"""The ways in: one thing asked over each protocol that has it, and what came of it in the contract's words."""

from __future__ import annotations

from typing import Any

import treq
from attrs import define
from twisted.internet.defer import Deferred

from ...live.clients import Address, Device, Rest, WebSocket
from ..toy_wire.client import ToyClient
from .model import OK, Principal

# TCP and REST say an error by its number (contract, section 1).
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
class Doors:
    """Those of one principal: a request each on REST and GraphQL, one connection each on WebSocket and TCP."""

    who: Principal
    address: Address
    rest: Rest
    socket: WebSocket
    device: Device
    toy: ToyClient  # of a protocol that the package knows nothing of

    @classmethod
    async def open(cls, who: Principal, address: Address, toy_port: int) -> Doors:
        socket, device = await WebSocket.open(address), await Device.open(address)
        toy = await ToyClient.connect(toy_port)
        if who.token is not None:
            await socket.ask(type="auth", token=who.token)
            await device.ask(0x01, token=who.token)
            await toy.ask(f"AUTH {who.token}")
        return cls(who, address, Rest(address, who.token), socket, device, toy)

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
            "websocket": await self._said(type="message", topic=topic, data=1),
            "tcp": await self._framed(0x20, topic=topic, content=1),
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
            "websocket": await self._said(type="subscribe", topic=pattern, **more),
            "tcp": await self._framed(0x10, topic=pattern, **more),
            "toy": await self._by_toy(f"SUB {pattern} {after or ''}".rstrip()),
        }
        if found["websocket"] == OK:
            await self._said(type="unsubscribe", topic=pattern)
        if found["tcp"] == OK:
            await self._framed(0x11, topic=pattern)
        if found["toy"] == OK:
            await self._by_toy(f"UNSUB {pattern}")
        return found

    async def _said(self, **fields: Any) -> str:
        """The answer with our id; what is delivered in between is not asked for here."""
        self.socket.say(id="asked", **fields)
        while True:
            said = await self.socket.inbox.next()
            if said.get("id") == "asked":
                return str(said["name"]) if said["type"] == "error" else OK

    async def _framed(self, kind: int, **fields: Any) -> str:
        """The answer: with our id, or an error, or that it was done."""
        self.device.say(kind, id="asked", **fields)
        while True:
            answer, said = await self.device.inbox.next()
            if answer == 0xFF:
                return NAMES[int(said["code"])]
            if answer in (0x12, 0x13, 0x22):
                return OK

    async def _by_toy(self, line: str) -> str:
        kind, *words = (await self.toy.ask(line)).split(" ")
        return OK if kind == OK else words[0]

    async def subscription(self, field: str) -> str:
        return await self._stream("POST", "/graphql", {"query": f"subscription {{ {field} {{ id }} }}"})

    async def _stream(self, method: str, path: str, body: Any = None) -> str:
        """Of an event stream that opens or does not: its first words tell."""
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
        first = FirstWords()
        response.original.deliverBody(first)
        await self.rest.ask("GET", "/health/live")  # what is refused was said before this is answered
        return first.verdict()


class FirstWords:
    """What a stream begins with; then it is left."""

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

    def verdict(self) -> str:
        if not self.ended.called:
            self.transport.stopProducing()
        for name in NAMES.values():
            if f'"{name}"'.encode() in self.text:
                return name
        return OK
