"""One small client a protocol, on real sockets: what each of our users would write."""

from __future__ import annotations

import json
import re
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque

import treq
from attrs import Factory, define, field
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS

from tests import canary
from tests.timing import RESCUE


@define(eq=False)
class Inbox:
    """What came, to be asked for in order; `closed` fires with the reason when there will be no more."""

    closed: Deferred[Any] = Factory(Deferred)
    listener: Callable[[Any], object] | None = None  # who is told at once, instead
    _came: Deque[Any] = Factory(deque)
    _asked: Deque[Deferred[Any]] = Factory(deque)

    def put(self, said: Any) -> None:
        if self.listener is not None:
            self.listener(said)
        elif self._asked:
            self._asked.popleft().callback(said)
        else:
            self._came.append(said)

    def close(self, reason: Any) -> None:
        if not self.closed.called:
            self.closed.callback(reason)

    def next(self) -> Deferred[Any]:
        """What came next; fails after `RESCUE`."""
        answer: Deferred[Any] = Deferred()
        if self._came:
            answer.callback(self._came.popleft())
        else:
            self._asked.append(answer)
            answer.addTimeout(RESCUE, reactor)
        return answer

    def rest(self) -> list[Any]:
        """What came and was not asked for."""
        came, self._came = list(self._came), deque()
        return came


@define(eq=False)
class Address:
    """Where a server listens."""

    http: int
    tcp: int
    metrics: int = 0
    host: str = "127.0.0.1"
    authority: Path | None = None  # that signed its certificate, if it speaks TLS

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}{'s' if self.authority else ''}://{self.host}:{self.http}{path}"

    @property
    def trust(self) -> Any:
        assert self.authority is not None
        return trustRootFromCertificates([Certificate.loadPEM(self.authority.read_bytes())])

    def endpoint(self, port: int) -> IStreamClientEndpoint:
        """How to connect to one of its ports."""
        plain = HostnameEndpoint(reactor, self.host, port)
        if self.authority is None:
            return plain
        return wrapClientTLS(optionsForClientTLS(self.host, self.trust), plain)

    def next(self) -> Address:
        """Where the next request or connection goes."""
        return self


class Rest:
    """JSON over HTTP, with one user's token."""

    def __init__(self, address: Address, token: str | None = None, source: str | None = None) -> None:
        """It comes from the address `source`, if one is given."""
        self.address, self.token = address, token
        self._source = None if source is None else (source, 0)
        self._agents: dict[Address, Agent] = {}

    def agent(self, address: Address) -> Agent:
        """No pool: no connection outlives its test."""
        if address not in self._agents:
            trusting = (BrowserLikePolicyForHTTPS(address.trust),) if address.authority else ()
            self._agents[address] = Agent(reactor, *trusting, bindAddress=self._source)
        return self._agents[address]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    async def respond(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The response to one request, before its body is read."""
        sent, address = {**self.headers, **headers}, self.address.next()
        return await treq.request(
            method,
            address.url(path),
            agent=self.agent(address),
            headers=sent,
            **({} if body is None else {"json": body}),
        )

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """(status, body) of one request to the API."""
        response = await self.respond(method, path, body, **headers)
        text = await response.content()
        canary.answered(f"answer to {method} {path}", text.decode(errors="replace"))
        canary.look(f"headers to {method} {path}", str(list(response.headers.getAllRawHeaders())))
        return response.code, json.loads(text) if text else None

    async def graphql(self, query: str, **variables: Any) -> Any:
        status, answer = await self.ask("POST", "/graphql", {"query": query, "variables": variables})
        return answer

    async def events(self, method: str, path: str, body: Any = None) -> Events:
        """A stream of server-sent events."""
        address = self.address.next()
        response = await treq.request(
            method,
            address.url(path),
            agent=self.agent(address),
            headers={**self.headers, "Accept": "text/event-stream"},
            unbuffered=True,
            **({} if body is None else {"json": body}),
        )
        assert response.code == 200, (response.code, await response.content())
        events = Events()
        response.original.deliverBody(events)
        return events


class Events(Protocol):
    """Reads `text/event-stream` into (event, data) pairs and comments into nothing."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self._text = b""

    def dataReceived(self, data: bytes) -> None:
        *whole, self._text = (self._text + data).split(b"\n\n")
        for block in whole:
            canary.answered("event stream", block.decode())
            fields: dict[str, str] = {}
            for line in re.split("\r\n|\r|\n", block.decode()):
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
            if "data" in fields:
                data_text = fields["data"]
                self.inbox.put((fields.get("event", "message"), json.loads(data_text) if data_text else None))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.inbox.close(reason.getErrorMessage())

    def hang_up(self) -> None:
        self.transport.stopProducing()  # type: ignore[union-attr]


class _Socket(WebSocketClientProtocol):  # type: ignore[misc]
    def onOpen(self) -> None:
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        canary.answered("WebSocket", payload.decode())
        self.factory.inbox.put(json.loads(payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if not self.factory.opened.called:
            self.factory.opened.errback(ConnectionError(f"{code} {reason}"))
        canary.look("Close", str(reason))
        self.factory.inbox.close((code, reason))


@define(eq=False)
class WebSocket:
    _socket: Any
    inbox: Inbox

    @classmethod
    async def open(
        cls, address: Address, path: str = "/ws", protocols: tuple[str, ...] = (), **headers: str
    ) -> WebSocket:
        address = address.next()
        factory = WebSocketClientFactory(
            address.url(path, "ws"), protocols=list(protocols), headers=headers, reactor=reactor
        )
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        factory.protocol, factory.opened, factory.inbox = _Socket, Deferred(), Inbox()
        await address.endpoint(address.http).connect(factory)
        return cls(await factory.opened, factory.inbox)

    def say(self, **fields: Any) -> None:
        self._socket.sendMessage(json.dumps(fields).encode())

    async def ask(self, **fields: Any) -> Any:
        self.say(**fields)
        return await self.inbox.next()

    async def close(self) -> None:
        self._socket.sendClose(1000)
        await self.inbox.closed


class _Frames(Int32StringReceiver):
    MAX_LENGTH = 2**21

    def __init__(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def stringReceived(self, string: bytes) -> None:
        canary.answered("TCP", string[1:].decode())
        self.inbox.put((string[0], json.loads(string[1:])))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.inbox.close(reason.getErrorMessage())


def frame(kind: int, **fields: Any) -> bytes:
    """One frame of the device protocol, with its length."""
    body = bytes([kind]) + json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body


@define(eq=False)
class Device:
    transport: Any
    inbox: Inbox

    @classmethod
    async def open(cls, address: Address) -> Device:
        inbox, address = Inbox(), address.next()
        protocol = await connectProtocol(
            address.endpoint(address.tcp),
            _Frames(inbox),  # type: ignore[arg-type]
        )
        return cls(protocol.transport, inbox)

    def say(self, kind: int, **fields: Any) -> None:
        self.transport.write(frame(kind, **fields))

    async def ask(self, kind: int, **fields: Any) -> Any:
        self.say(kind, **fields)
        return await self.inbox.next()

    async def close(self) -> None:
        self.transport.loseConnection()
        await self.inbox.closed


@define(eq=False)
class Person:
    """A registered user and a connection of each kind, all closed by `leave`."""

    address: Address
    rest: Rest
    id: str
    _open: list[Callable[[], Any]] = field(factory=list)

    @classmethod
    async def register(cls, address: Address, name: str) -> Person:
        fields = {"email": f"{name}@example.org", "name": name, "password": canary.PASSWORD}
        status, answer = await Rest(address).ask("POST", "/api/v1/auth/register", fields)
        assert status == 201, answer
        status, answer = await Rest(address).ask("POST", "/api/v1/auth/login", fields)
        assert status == 200, answer
        return cls(address, Rest(address, answer["data"]["token"]), answer["data"]["user"]["id"])

    @property
    def token(self) -> str:
        assert self.rest.token
        return self.rest.token

    async def websocket(self) -> WebSocket:
        socket = await WebSocket.open(self.address)
        self._open.append(socket.close)
        assert (await socket.ask(type="auth", token=self.token))["type"] == "auth_success"
        return socket

    async def device(self) -> Device:
        device = await Device.open(self.address)
        self._open.append(device.close)
        assert (await device.ask(0x01, token=self.token))[0] == 0x02
        return device

    async def graphql_socket(self) -> WebSocket:
        socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
        self._open.append(socket.close)
        payload = {"authorization": f"Bearer {self.token}"}
        assert (await socket.ask(type="connection_init", payload=payload))["type"] == "connection_ack"
        return socket

    async def stream(self, method: str, path: str, body: Any = None) -> Events:
        events = await self.rest.events(method, path, body)
        self._open.append(events.hang_up)
        return events

    async def leave(self) -> None:
        for close in self._open:
            await (close() or _nothing())


async def _nothing() -> None:
    pass
