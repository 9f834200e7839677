"""The way from a real HTTP site into a WebSocket."""

from __future__ import annotations

import re
from ipaddress import ip_network

from twisted.internet.error import ConnectionDone
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure

from multiproto.core.addresses import AddressRules
from multiproto.http.wiring import SiteSettings
from multiproto.rfc6455.resource import UpgradeResource
from multiproto.websocket.protocol import WebSocketFactory

from ..fakes import ManualTurn, make_turns
from ..http.sites import SiteCase
from .wire import TEXT, Wire, close, frame, handshake, spoken, text

ASK = text(type="ping")


class UpgradeTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        factory = WebSocketFactory(
            self.house.hub,
            self.house.admission("websocket"),
            self.clock,
            self.clock.seconds,
            lambda origin: False,
        )
        self.mounts[b"/ws"] = UpgradeResource(factory)
        self.site = self.make_site()
        self.connect()

    def connect(self) -> None:
        self.wire = Wire()
        self.wire.protocol = self.site.buildProtocol(None)
        self.wire.protocol.makeConnection(self.wire)

    def say(self, data: bytes) -> bytes:
        """Deliver `data` to the protocol that has the connection now, as a transport does."""
        self.wire.protocol.dataReceived(data)
        return self.wire.take()

    def opened(self, data: bytes = b"") -> bytes:
        head, _, rest = self.say(handshake() + data).partition(b"\r\n\r\n")
        self.assertIn(b" 101 ", head)
        return rest

    def test_after_the_upgrade_the_outbox_feels_the_transport(self) -> None:
        """`registerProducer` raised: the HTTP channel was still registered."""
        self.opened()
        self.wire.producer.pauseProducing()
        self.assertEqual(self.say(ASK), b"")
        self.wire.producer.resumeProducing()
        self.assertEqual(spoken(self.wire.take()), [{"type": "pong"}])

    def test_frames_in_the_packet_of_the_handshake_are_not_lost(self) -> None:
        half = len(ASK) // 2
        self.assertEqual(spoken(self.opened(ASK + ASK[:half])), [{"type": "pong"}])
        self.assertEqual(spoken(self.say(ASK[half:])), [{"type": "pong"}])

    def test_a_closing_of_the_peer(self) -> None:
        self.opened()
        self.assertEqual(spoken(self.say(close(1000))), [("close", 1000, "")])
        self.assertTrue(self.wire.disconnecting)
        self.wire.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.house.hub), 0)

    def test_the_upgrade_goes_through_a_wrapper(self) -> None:
        """As TLS is one."""
        wrapper = WrappingFactory(self.site).buildProtocol(None)
        self.wire = Wire()
        self.wire.protocol = wrapper
        wrapper.makeConnection(self.wire)
        self.opened()
        self.assertEqual(spoken(self.say(ASK)), [{"type": "pong"}])

    def test_headers_come_through_as_they_were(self) -> None:
        self.assertIn(b" 400 ", self.say(handshake("Origin: http://a", Origin="http://example.com")))

    def test_the_correlation_id_comes_back(self) -> None:
        """Accepted or refused, the client's own, or one that is made."""
        for status, changes in ((b"101", {}), (b"403", {"Origin": "https://evil.example"})):
            for given, found in (("X-Correlation-ID: mine-1", b"mine-1"), ("X-Other: 1", None)):
                self.connect()
                head = self.say(handshake(given, **changes)).partition(b"\r\n\r\n")[0]
                self.assertEqual(head.split(b" ")[1], status)
                ids = re.findall(rb"(?i)\r\nx-correlation-id: (\S+)", head)
                self.assertEqual(len(ids), 1, head)
                if found is not None:
                    self.assertEqual(ids, [found])

    def test_our_own_page_behind_a_proxy_with_tls(self) -> None:
        """The proxy says by which scheme the client came."""
        rules = AddressRules(trusted_proxies=(ip_network(Wire().getPeer().host),))
        self.site = self.make_site(SiteSettings(address_rules=rules))
        for scheme, origin, status in (
            ("https", "https://example.com", b"101"),
            ("https", "http://example.com", b"403"),
            ("http", "http://example.com", b"101"),
        ):
            self.connect()
            forwarded = {"X_Forwarded_For": "198.51.100.7", "X_Forwarded_Proto": scheme}
            head = self.say(handshake(Origin=origin, **forwarded))
            self.assertEqual(head.split(b" ")[1], status, (scheme, origin))

    def test_an_old_version_of_http_is_refused(self) -> None:
        self.assertIn(b" 505 ", self.say(handshake().replace(b"HTTP/1.1", b"HTTP/1.0")))

    def test_a_plain_request_is_told_to_upgrade(self) -> None:
        answer = self.say(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"HTTP/1.1 426 Upgrade Required\r\n", answer)

    def test_a_body_is_no_frame(self) -> None:
        self.assertEqual(
            spoken(self.say(handshake(Content_Length=str(len(ASK))) + ASK).partition(b"\r\n\r\n")[2]), []
        )
        self.assertEqual(spoken(self.say(frame(TEXT, b"[]")))[0]["code"], 2)

    def test_frames_behind_a_body_are_not_lost(self) -> None:
        for framing, body in (
            ({"Content_Length": "0"}, b""),
            ({"Content_Length": "3"}, b"abc"),
            ({"Transfer_Encoding": "chunked"}, b"0\r\n\r\n"),
            ({"Transfer_Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"),
        ):
            self.connect()
            answer = self.say(handshake(**framing) + body + ASK)
            self.assertEqual(spoken(answer.partition(b"\r\n\r\n")[2]), [{"type": "pong"}])

    def test_frames_that_come_while_the_handshake_waits_for_its_turn_are_not_lost(self) -> None:
        turn = ManualTurn(seconds=1.0)
        self.site.turns = make_turns(self.clock, turn)
        self.assertEqual(self.say(handshake()), b"")
        self.assertEqual(self.say(ASK), b"")
        turn.end()
        self.clock.advance(0)
        self.assertEqual(spoken(self.wire.take().partition(b"\r\n\r\n")[2]), [{"type": "pong"}])

    def test_nothing_follows_a_handshake_that_is_not_admitted(self) -> None:
        """It stayed open, and what came behind it was read as requests."""
        repeated = handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        answer = self.say(repeated + b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1)
        self.assertIn(b"HTTP/1.1 400 Bad Request\r\n", answer)
        self.assertIn(b"\r\nConnection: close\r\n", answer)
