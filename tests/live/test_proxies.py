"""Behind proxies, on real ports: what limits, statistics and rules see is the client."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_network
from typing import Any

from attrs import evolve
from twisted.internet.threads import deferToThread

from multiproto.config import Config
from multiproto.config.parsers import CLIENT_PORTS
from tests.proxy import Proxy
from tests.timing import RESCUE

from . import test_matrix
from .clients import Device, Rest, WebSocket
from .running import LiveCase
from .test_tls import LIVE, TlsCase

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1"))
DENIED = (ip_network("192.0.2.66"),)


def v1(client: str) -> bytes:
    return f"PROXY TCP4 {client} 127.0.0.1 40000 3000\r\n".encode()


def v2(client: str) -> bytes:
    addresses = struct.pack("!4s4sHH", socket.inet_aton(client), b"\x7f\0\0\1", 40000, 3000)
    return b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + addresses


class Announcing(Proxy):
    """Begins each connection with `header`."""

    header = v2("192.0.2.1")

    def connect(self, client: Any) -> None:
        client.early = self.header
        super().connect(client)


class ProxiedCase(LiveCase):
    """`self.direct` is where the server is; `self.address`, where a proxy before it is, for HTTP and TCP."""

    most_devices = 2  # from one address

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        edge = evolve(config.edge, trusted_proxies=LOOPBACK, proxy_protocol_ports=CLIENT_PORTS, deny=DENIED)
        return evolve(config, edge=edge, tcp=evolve(config.tcp, max_connections_per_ip=self.most_devices))

    async def asyncSetUp(self) -> None:
        self.direct = evolve(self.address)
        self.proxies = [Announcing(self.direct.http), Announcing(self.direct.tcp)]
        for proxy in self.proxies:
            proxy.listen()
            self.addCleanup(proxy.stop)
        self.address.http, self.address.tcp = (proxy.port for proxy in self.proxies)
        await super().asyncSetUp()

    def speak_for(self, header: bytes) -> None:
        for proxy in self.proxies:
            proxy.header = header

    async def by_address(self) -> dict[str, dict[str, int]]:
        """What the statistics have for each protocol that somebody is on."""
        metrics = evolve(self.direct, http=self.direct.metrics)
        _, stats = await Rest(metrics).ask("GET", "/stats")
        found = {name: each["connections"]["connectionsByIp"] for name, each in stats["protocols"].items()}
        return {name: hosts for name, hosts in found.items() if hosts}


class EveryProtocol:
    """For a `ProxiedCase`."""

    async def test_all_of_them_see_the_client(self: Any) -> None:
        ann = await self.person("ann")
        self.speak_for(v1("192.0.2.2"))
        await ann.websocket()
        await ann.device()
        await ann.graphql_socket()
        await ann.stream("GET", "/api/v1/topics/room.1/events")
        found = await self.by_address()
        self.assertEqual(found, dict.fromkeys(("websocket", "tcp", "graphql", "sse"), {"192.0.2.2": 1}))

    async def test_limits_are_each_clients_own(self: Any) -> None:
        first, second = await Device.open(self.address), await Device.open(self.address)
        third = await Device.open(self.address)
        self.assertEqual((await third.inbox.next())[1]["code"], "13")
        self.speak_for(v2("192.0.2.2"))
        fourth = await Device.open(self.address)
        self.assertEqual((await fourth.ask(0x30))[0], 0x31)
        for device in (first, second, third, fourth):
            await device.close()

    async def test_a_client_that_is_denied(self: Any) -> None:
        self.speak_for(v2("192.0.2.66"))
        status, answer = await Rest(self.address).ask("GET", "/health/live")
        self.assertEqual((status, answer["error"]["code"]), (403, 5))
        with self.assertRaises(ConnectionError):
            await WebSocket.open(self.address)
        self.assertEqual(await deferToThread(self.heard, self.address.tcp, b""), b"")
        self.speak_for(v2("192.0.2.67"))
        self.assertEqual((await Rest(self.address).ask("GET", "/health/live"))[0], 200)

    async def test_a_proxy_must_announce(self: Any) -> None:
        for port in (self.direct.http, self.direct.tcp):
            self.assertEqual(await deferToThread(self.heard, port, LIVE), b"")

    def heard(self, port: int, data: bytes) -> bytes:
        """All that comes on a connection on which `data` is said."""
        with socket.create_connection(("127.0.0.1", port), RESCUE) as plain:
            heard = b""
            try:
                plain.sendall(data)
                while chunk := plain.recv(4096):
                    heard += chunk
            except ConnectionResetError:
                pass
            return heard


class PlainTests(EveryProtocol, ProxiedCase):
    pass


class TlsTests(EveryProtocol, ProxiedCase, TlsCase):
    """The header comes before TLS."""


class MatrixTests(ProxiedCase, TlsCase, test_matrix.MatrixTests):
    """Everything that holds without TLS and proxies."""

    most_devices = 100


class OthersTests(LiveCase):
    """`PROXY_PROTOCOL` is on, but this machine is no proxy."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        proxies = (ip_network("192.0.2.0/24"),)
        return evolve(
            config, edge=evolve(config.edge, trusted_proxies=proxies, proxy_protocol_ports=CLIENT_PORTS)
        )

    async def test_their_header_is_refused(self) -> None:
        """By the wire, as any rubbish; without one, they are served as ever."""
        heard = EveryProtocol.heard
        for header in (v1("192.0.2.1"), v2("192.0.2.1")):
            answer = await deferToThread(heard, self, self.address.http, header + LIVE)  # type: ignore[arg-type]
            self.assertRegex(answer, rb"^HTTP/1.1 (400|501)")
            answer = await deferToThread(heard, self, self.address.tcp, header)  # type: ignore[arg-type]
            self.assertIn(b'"code":"10"', answer)
        self.assertEqual((await Rest(self.address).ask("GET", "/health/live"))[0], 200)


class ForwardedTests(LiveCase):
    """A proxy that speaks HTTP, on this machine."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, edge=evolve(config.edge, trusted_proxies=LOOPBACK, deny=DENIED))

    async def test_a_websocket_has_the_address_of_its_client(self) -> None:
        for path, protocols in (("/ws", ()), ("/graphql", ("graphql-transport-ws",))):
            socket_ = await WebSocket.open(
                self.address, path, protocols, **{"X-Forwarded-For": "198.51.100.1, 192.0.2.1"}
            )
            hub: Any = self.server.getServiceNamed("hub")
            self.assertEqual([guest.network for guest in hub._connections.values()], ["192.0.2.1"])
            await socket_.close()

    async def test_a_denied_one_is_refused(self) -> None:
        with self.assertRaisesRegex(ConnectionError, "403"):
            await WebSocket.open(self.address, **{"X-Forwarded-For": "192.0.2.66"})


class DeniedTests(LiveCase):
    """Who is not wanted is not even accepted."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, edge=evolve(config.edge, allow=(ip_network("192.0.2.0/24"),)))

    async def test_at_accept(self) -> None:
        heard = EveryProtocol.heard
        for port in (self.address.http, self.address.tcp):
            self.assertEqual(await deferToThread(heard, self, port, LIVE), b"")  # type: ignore[arg-type]
        metrics = evolve(self.address, http=self.address.metrics)
        self.assertEqual((await Rest(metrics).ask("GET", "/health"))[0], 200)
