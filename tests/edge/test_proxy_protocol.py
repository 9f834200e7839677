"""Which connections are admitted, and with which address: the address filter and the PROXY protocol, in memory."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHalfCloseableProtocol, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import Logger, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from multiproto.core.addresses import AddressRules
from multiproto.edge.listeners import EdgeWrapper
from multiproto.edge.proxy_header import V2_PREFIX
from multiproto.edge.proxy_protocol import HEADER_TIMEOUT, LOG_INTERVAL, AddressFilterFactory

PROXY, CLIENT = "10.0.0.1", "192.0.2.1"
HEADER = b"PROXY TCP4 192.0.2.1 10.0.0.9 40000 3000\r\n"


@implementer(IHalfCloseableProtocol)
class Recorder(Protocol):
    """Keeps all that it is told, in order."""

    def __init__(self, addr: Any) -> None:
        self.told: list[Any] = [("built", addr.host)]

    def connectionMade(self) -> None:
        transport: Any = self.transport
        self.told.append(("made", transport.getPeer().host, transport.getHost().port))

    def dataReceived(self, data: bytes) -> None:
        self.told.append(data)

    def readConnectionLost(self) -> None:
        self.told.append("half")

    def writeConnectionLost(self) -> None:
        self.told.append("our half")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.told.append("lost")


@implementer(ITCPTransport)
class Wire(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


class DoorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.built: list[Recorder] = []

    def door(
        self, allow: str = "", deny: str = "", expects_header: bool = True, filters_clients: bool = True
    ) -> AddressFilterFactory:
        networks = (tuple(map(ip_network, each.split())) for each in (allow, deny, PROXY))
        factory = Factory()
        factory.buildProtocol = self.build  # type: ignore[method-assign]
        return AddressFilterFactory(
            factory, AddressRules(*networks), self.clock, "http" if expects_header else None, filters_clients
        )

    def build(self, addr: Any) -> Recorder:
        self.built.append(Recorder(addr))
        return self.built[-1]

    def connect(self, door: AddressFilterFactory, host: str = PROXY) -> tuple[Any, Wire]:
        """`None` where the door stayed shut."""
        peer = IPv4Address("TCP", host, 5)
        protocol = door.buildProtocol(peer)
        wire = Wire(hostAddress=IPv4Address("TCP", "10.0.0.8", 3), peerAddress=peer)
        if protocol is not None:
            protocol.makeConnection(wire)
        return protocol, wire

    def told(self) -> list[Any]:
        return [said for each in self.built for said in each.told]


class AcceptTests(DoorCase):
    def test_who_is_not_wanted_gets_no_protocol(self) -> None:
        door = self.door(allow="192.0.2.0/24", deny=CLIENT, expects_header=False)
        self.assertIsNone(self.connect(door, CLIENT)[0])
        self.assertIsNone(self.connect(door, "198.51.100.1")[0])
        self.assertEqual(self.told(), [])
        self.connect(door, "192.0.2.2")
        self.connect(door, PROXY)
        self.assertEqual(
            self.told(),
            [("built", "192.0.2.2"), ("made", "192.0.2.2", 3), ("built", PROXY), ("made", PROXY, 3)],
        )

    def test_others_than_proxies_come_in_as_they_are(self) -> None:
        """And their header is the wire's to refuse: it is what they sent."""
        protocol, _ = self.connect(self.door(), CLIENT)
        protocol.dataReceived(HEADER)
        self.assertEqual(self.told(), [("built", CLIENT), ("made", CLIENT, 3), HEADER])


class ProxyTests(DoorCase):
    def test_the_wire_sees_the_client(self) -> None:
        """Once the header is read, and not before; what came with it is not lost."""
        protocol, wire = self.connect(self.door())
        for cut in range(len(HEADER)):
            protocol.dataReceived(HEADER[cut : cut + 1])
            if cut < len(HEADER) - 1:
                self.assertEqual(self.told(), [])
        protocol.dataReceived(b"more")
        self.assertEqual(self.told(), [("built", CLIENT), ("made", CLIENT, 3000), b"more"])
        protocol, _ = self.connect(self.door())
        protocol.dataReceived(HEADER + b"ahead")
        self.assertEqual(self.told()[3:], [("built", CLIENT), ("made", CLIENT, 3000), b"ahead"])
        self.assertTrue(ITCPTransport.providedBy(protocol))
        self.assertFalse(wire.aborted)

    def test_a_proxy_that_speaks_for_itself(self) -> None:
        protocol, _ = self.connect(self.door())
        protocol.dataReceived(b"PROXY UNKNOWN\r\n")
        self.assertEqual(self.told(), [("built", PROXY), ("made", PROXY, 3)])

    def test_a_second_header_is_data(self) -> None:
        protocol, _ = self.connect(self.door())
        protocol.dataReceived(HEADER + HEADER)
        self.assertEqual(self.told()[2:], [HEADER])

    def test_without_a_header_nothing(self) -> None:
        protocol, wire = self.connect(self.door())
        protocol.dataReceived(b"GET / HTTP/1.1\r\n")
        self.assertTrue(wire.aborted)
        protocol.connectionLost(connectionDone)
        self.assertEqual((self.told(), self.clock.getDelayedCalls()), ([], []))

    def test_a_header_has_its_time(self) -> None:
        """Whatever trickles in."""
        protocol, wire = self.connect(self.door())
        protocol.dataReceived(HEADER[:5])
        self.clock.advance(HEADER_TIMEOUT - 0.1)
        self.assertFalse(wire.aborted)
        self.clock.advance(0.1)
        self.assertTrue(wire.aborted)
        protocol, wire = self.connect(self.door())
        protocol.dataReceived(HEADER)
        self.clock.advance(HEADER_TIMEOUT)
        self.assertFalse(wire.aborted)

    def test_a_client_that_may_not_come_in(self) -> None:
        protocol, wire = self.connect(self.door(deny=CLIENT))
        protocol.dataReceived(HEADER + b"ahead")
        protocol.dataReceived(b"more")
        protocol.connectionLost(connectionDone)
        self.assertEqual((self.told(), wire.aborted), ([], True))

    def test_or_that_is_told_so_by_the_wire(self) -> None:
        protocol, _ = self.connect(self.door(deny=CLIENT, filters_clients=False))
        protocol.dataReceived(HEADER)
        self.assertEqual(self.told(), [("built", CLIENT), ("made", CLIENT, 3000)])

    def test_a_wire_that_wants_no_connection(self) -> None:
        """As the HTTP site, when it drains."""
        door = self.door()
        door.wrappedFactory.buildProtocol = lambda addr: None
        protocol, wire = self.connect(door)
        protocol.dataReceived(HEADER)
        self.assertTrue(wire.aborted)

    def test_halves_are_for_whoever_knows_of_them(self) -> None:
        protocol, _ = self.connect(self.door())
        self.assertIsNone(IHalfCloseableProtocol(protocol, None))
        protocol.dataReceived(HEADER)
        self.assertIs(IHalfCloseableProtocol(protocol), self.built[0])
        self.assertFalse(IHalfCloseableProtocol.providedBy(protocol))  # or TLS around it would, too

    def test_an_end(self) -> None:
        protocol, _ = self.connect(self.door())
        protocol.dataReceived(HEADER)
        protocol.connectionLost(connectionDone)
        self.assertEqual(self.told()[2:], ["lost"])


class LogTests(DoorCase):
    def setUp(self) -> None:
        super().setUp()
        self.lines: list[str] = []
        self.patch(
            AddressFilterFactory, "_log", Logger(observer=lambda event: self.lines.append(formatEvent(event)))
        )

    def test_why_a_proxy_is_not_heard(self) -> None:
        for said, why in (
            (b"GET / HTTP/1.1\r\n", "it begins with an HTTP request, without a PROXY header"),
            (b"\x16\x03\x01", "it begins with TLS, without a PROXY header"),
            (b"\0\0\0\x05", "it begins with something else, without a PROXY header"),
            (b"PROXY TCP4 secret\r\n", "its PROXY header is malformed"),
            (V2_PREFIX + b"\xff" * 8, "its PROXY header is malformed"),
        ):
            protocol, wire = self.connect(self.door())
            protocol.dataReceived(said)
            self.assertTrue(wire.aborted)
            expected = (
                f"port http: closed 1 connections of trusted proxies, the last of {PROXY}: {why}; let the proxy "
                "send a PROXY header, or take http out of PROXY_PROTOCOL"
            )
            self.assertEqual(self.lines.pop(), expected)

    def test_one_that_says_nothing(self) -> None:
        for said, why in ((b"", "did not come within 10 s"), (HEADER[:-1], "was not whole within 10 s")):
            protocol, _ = self.connect(self.door())
            protocol.dataReceived(said)
            self.clock.advance(HEADER_TIMEOUT)
            self.assertIn(f"the PROXY header {why};", self.lines.pop())

    def test_one_that_only_looks_whether_the_port_is_open(self) -> None:
        protocol, _ = self.connect(self.door())
        protocol.connectionLost(connectionDone)
        self.clock.advance(HEADER_TIMEOUT)
        self.assertEqual(self.lines, [])

    def test_a_line_a_minute(self) -> None:
        door = self.door()

        def fail(times: int) -> None:
            for _ in range(times):
                self.connect(door)[0].dataReceived(b"x")

        fail(3)
        self.clock.advance(LOG_INTERVAL - 0.1)
        fail(2)
        self.assertEqual(len(self.lines), 1)
        self.clock.advance(0.1)
        fail(1)
        self.assertEqual(
            [line[: line.index(" of")] for line in self.lines],
            ["port http: closed 1 connections", "port http: closed 5 connections"],
        )


class PortTests(DoorCase):
    """Each port that `PROXY_PROTOCOL` names, and no other."""

    def hears(self, *ports: str) -> dict[str, list[Any]]:
        """What the wire of each port is told where a proxy sends a header."""
        rules = AddressRules(trusted_proxies=(ip_network(PROXY),))
        edge = EdgeWrapper(None, rules, frozenset(ports), self.clock)
        factory = Factory()
        factory.buildProtocol = self.build  # type: ignore[method-assign]
        found = {}
        wrapped = (edge.wrap_http(factory), edge.wrap_tcp(factory), edge.wrap_metrics(factory, True))
        for name, door in zip(("http", "tcp", "metrics"), wrapped, strict=True):
            peer = IPv4Address("TCP", PROXY, 5)
            protocol: Any = door.buildProtocol(peer)
            protocol.makeConnection(Wire(hostAddress=IPv4Address("TCP", "10.0.0.8", 3), peerAddress=peer))
            protocol.dataReceived(HEADER)
            found[name] = self.built[-1].told
        return found

    def test_each(self) -> None:
        proxied = [("built", CLIENT), ("made", CLIENT, 3000)]
        as_it_is = [("built", PROXY), ("made", PROXY, 3), HEADER]
        for ports in ((), ("tcp",), ("http", "metrics"), ("http", "tcp", "metrics")):
            expected = {name: proxied if name in ports else as_it_is for name in ("http", "tcp", "metrics")}
            self.assertEqual(self.hears(*ports), expected)
