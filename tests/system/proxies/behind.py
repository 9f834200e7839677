"""All protocols through each proxy of docs/operations.md."""

from __future__ import annotations

import socket
import ssl
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from multiproto.config import Config
from tests.certificates import make
from tests.live.clients import Address, Rest, WebSocket, frame
from tests.live.running import LiveCase
from tests.ports import HOST
from tests.timing import RESCUE

from .documented import HAProxy, Nginx, RunningProxy, Upstream

NAME = "localhost"
CLIENT = "127.0.0.2"  # another address than the proxy's
SUBSCRIPTION = 'subscription { topic(pattern: "room.*") { data } }'


class BehindCase(LiveCase):
    """`self.address` is the proxy's, which is not on port 443; `self.addresses` has the server's own."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        edge = evolve(config.edge, trusted_proxies=(ip_network(HOST),), proxy_protocol_ports=("tcp",))
        return evolve(config, edge=edge, http=evolve(config.http, port=0, origins=()))

    def make_proxy(self, directory: Path, upstream: Upstream) -> RunningProxy:
        raise NotImplementedError

    async def asyncSetUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.files = make(directory, NAME)
        proxy = self.make_proxy(directory / "proxy", Upstream(self.address.http, self.address.tcp))
        await proxy.start()
        self.addCleanup(proxy.program.kill)
        self.direct = self.address
        self.address = Address(proxy.http, proxy.tcp, 0, NAME, self.files.authority)

    def place(self) -> Address:
        return self.address


class EveryProtocol:
    async def test_each_hears_of_each(self: Any) -> None:
        """Events arrive at once, for nothing on the way keeps them."""
        ann = await self.person("ann")
        websocket = await ann.websocket()
        subscribed = await websocket.ask(type="subscribe", topic="room.*")
        self.assertEqual(subscribed["type"], "subscribed")
        device = await ann.device()
        self.assertEqual((await device.ask(0x10, topic="room.*"))[0], 0x12)
        stream = await ann.stream("GET", "/api/v1/topics/room.*/events")
        self.assertEqual((await stream.inbox.next())[0], "subscribed")
        socket_ = await ann.graphql_socket()
        socket_.say(type="subscribe", id="1", payload={"query": SUBSCRIPTION})
        graphql = await ann.stream("POST", "/graphql", {"query": SUBSCRIPTION})
        await self.is_subscribed("graphql_stream", 2)
        for number in range(3):
            status, _ = await ann.rest.ask("POST", "/api/v1/topics/room.1", {"data": number})
            self.assertEqual(status, 202)
            self.assertEqual((await websocket.inbox.next())["data"], number)
            self.assertEqual((await device.inbox.next())[1]["content"], number)
            self.assertEqual((await stream.inbox.next())[1]["data"], number)
            of_socket, of_stream = await socket_.inbox.next(), (await graphql.inbox.next())[1]
            for payload in (of_socket["payload"], of_stream):
                self.assertEqual(payload, {"data": {"topic": {"data": number}}} | extensions(payload))

    async def is_subscribed(self: Any, name: str, count: int) -> None:
        """Returns when so many connections called `name` are there."""
        while sum((await self.by_address()).get(name, {}).values()) < count:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

    async def by_address(self: Any) -> dict[str, dict[str, int]]:
        """Open connections by the client's address, of each protocol that has some."""
        _, stats = await Rest(evolve(self.direct, http=self.direct.metrics)).ask("GET", "/stats")
        found = {name: each["connections"]["connectionsByIp"] for name, each in stats["protocols"].items()}
        return {name: hosts for name, hosts in found.items() if hosts}

    async def test_the_server_sees_the_client(self: Any) -> None:
        ann = await self.person("ann")
        rest = Rest(self.address, ann.token, source=CLIENT)
        stream = await rest.events("GET", "/api/v1/topics/room.*/events")
        self.addCleanup(stream.hang_up)
        device = await deferToThread(self.connect_device)
        self.addCleanup(device.close)
        found = await self.by_address()
        self.assertEqual((found["sse"], found["tcp"]), ({CLIENT: 1}, {CLIENT: 1}))

    def connect_device(self: Any) -> ssl.SSLSocket:
        """A TCP connection of `CLIENT`, that was answered."""
        context = ssl.create_default_context(cafile=str(self.files.authority))
        plain = socket.create_connection((HOST, self.address.tcp), RESCUE, (CLIENT, 0))
        secure = context.wrap_socket(plain, server_hostname=NAME)
        secure.sendall(frame(0x30))
        assert secure.recv(1000)[4] == 0x31
        return secure

    async def test_a_page_of_the_proxys_own_origin(self: Any) -> None:
        """Which has a port in it; and one of another origin."""
        own = f"https://{NAME}:{self.address.http}"
        for origin, is_allowed in ((own, True), (f"https://{NAME}", False), ("https://evil.example", False)):
            for path, protocols in (("/ws", ()), ("/graphql", ("graphql-transport-ws",))):
                opening = WebSocket.open(self.address, path, protocols, Origin=origin)
                if is_allowed:
                    await (await opening).close()
                else:
                    with self.assertRaisesRegex(ConnectionError, "403"):
                        await opening
            response = await Rest(self.address).respond("GET", "/health/live", Origin=origin)
            allowed = response.headers.getRawHeaders("access-control-allow-origin")
            self.assertEqual(allowed, [origin] if is_allowed else None)
            secure = response.headers.getRawHeaders("strict-transport-security")
            self.assertEqual(secure, ["max-age=31536000; includeSubDomains"])

    async def test_a_body_that_is_too_large_is_the_servers_to_refuse(self: Any) -> None:
        ann = await self.person("ann")
        frame_size = len('{"data": ""}')
        for size, status in ((2**20, 413), (2**20 + 1, 413), (990_000, 202)):
            got, answer = await ann.rest.ask(
                "POST", "/api/v1/topics/room.1", {"data": "a" * (size - frame_size)}
            )
            self.assertEqual((got, answer["success"]), (status, status == 202))


def extensions(payload: dict[str, Any]) -> dict[str, Any]:
    """Its `extensions`, if it has some."""
    return {name: value for name, value in payload.items() if name == "extensions"}


class NginxTests(EveryProtocol, BehindCase):
    def make_proxy(self, directory: Path, upstream: Upstream) -> RunningProxy:
        return Nginx(directory, self.files, [upstream])


class HAProxyTests(EveryProtocol, BehindCase):
    def make_proxy(self, directory: Path, upstream: Upstream) -> RunningProxy:
        return HAProxy(directory, self.files, [upstream])
