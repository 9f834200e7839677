"""The metrics port, asked as Prometheus and operators ask it."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import client_network
from multiproto.observe.metrics import Metrics
from multiproto.observe.metrics_site import (
    MAX_CONNECTIONS,
    MAX_CONNECTIONS_PER_NETWORK,
    MetricsResource,
    make_metrics_site,
)
from multiproto.observe.protocol_stats import ProtocolStats

NOW = 1_000_000_060.0  # seconds since the epoch
CONNECTIONS = {
    "activeConnections": 1,
    "connectionsByIp": {"10.0.0.1": 1},
    "authenticatedConnections": 1,
    "totalSubscriptions": 1,
    "messagesSent": 1,
    "messagesReceived": 2,
    "errors": 1,
    "startedAt": "2001-09-09T01:46:40.000Z",
    "uptime": 60000,
}
MESSAGES = {
    "messagesProcessed": 2,
    "authAttempts": 2,
    "authSuccesses": 1,
    "authFailures": 1,
    "subscriptions": 2,
    "unsubscriptions": 1,
    "messagesPublished": 1,
    "errors": 1,
}


ASK = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"


class AbortableTransport(StringTransport):
    """A transport that tells its protocol when it is aborted, as a socket does."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.aborted = False

    def abortConnection(self) -> None:
        if not self.aborted:
            self.aborted = True
            self.protocol.connectionLost(Failure(ConnectionAborted()))


class SiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.metrics = Metrics()
        self.clock.advance(65)
        self.traffic = self.metrics.add_protocol(ProtocolStats("tcp", 1_000_000_000.0, 5.0))
        self.health = (200, {"status": "healthy"})
        self.client = StubTreq(MetricsResource(self.metrics, self.well, lambda: NOW, self.clock))

    async def well(self) -> tuple[int, dict[str, Any]]:
        return self.health

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, str]:
        """Status, body (read if it is JSON) and media type."""
        answering = self.client.request(method, f"http://localhost{path}", headers=headers)
        self.client.flush()
        answer = self.successResultOf(answering)
        body = self.successResultOf(answer.content())
        (media_type,) = answer.headers.getRawHeaders("content-type")
        is_json = media_type.startswith("application/json") and body
        return answer.code, json.loads(body) if is_json else body.decode(), media_type

    def test_metrics_in_prometheus_text(self) -> None:
        self.traffic.record_connected(client_network("a"))
        status, text, media_type = self.ask("/metrics")
        self.assertEqual((status, media_type), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn("\ntcp_connections_active 1.0\n", text)
        self.assertIn("\n# TYPE http_requests_total counter\n", text)

    def test_openmetrics_when_asked(self) -> None:
        _, text, media_type = self.ask("/metrics", accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(media_type.startswith("application/openmetrics-text; version=1.0.0"))
        self.assertTrue(text.endswith("# EOF\n"))

    def test_metrics_in_json(self) -> None:
        self.traffic.record_connected(client_network("a"))
        status, families, _ = self.ask("/metrics/json")
        found = {family["name"]: family for family in families}
        self.assertEqual(status, 200)
        self.assertEqual(
            found["tcp_connections_active"],
            {
                "name": "tcp_connections_active",
                "help": "Open connections",
                "type": "gauge",
                "values": [{"name": "tcp_connections_active", "labels": {}, "value": 1.0}],
            },
        )

    def test_they_are_encoded_once_a_turn(self) -> None:
        """For each format, however many ask; and in the next turn anew."""
        collected: list[object] = []
        collect = self.metrics.registry.collect
        self.patch(self.metrics.registry, "collect", lambda: collected.append(None) or collect())
        first = [self.ask(path)[1] for path in ("/metrics", "/metrics", "/metrics/json", "/metrics/json")]
        self.assertEqual((first[0], first[2], len(collected)), (first[1], first[3], 2))
        self.traffic.record_connected(client_network("a"))
        self.clock.advance(0)
        self.assertIn("\ntcp_connections_active 1.0\n", self.ask("/metrics")[1])

    def test_health_with_its_status(self) -> None:
        self.assertEqual(self.ask("/health")[:2], (200, {"status": "healthy"}))
        self.health = (503, {"status": "unhealthy"})
        self.assertEqual(self.ask("/health/")[:2], (503, {"status": "unhealthy"}))

    def test_stats(self) -> None:
        traffic = self.traffic
        traffic.record_connected(client_network("10.0.0.1"))
        traffic.record_auth("invalid")
        traffic.record_auth("success")
        traffic.record_command("Authenticate")
        traffic.record_command("Publish")
        traffic.record_subscribed(2)
        traffic.record_unsubscribed()
        traffic.record_published()
        traffic.record_refusal("FORBIDDEN")
        traffic.record_sent("Delivery", 10)
        self.metrics.events_emitted.labels("user.created").inc(2)
        self.metrics.events_handled.labels("user.created", "success").inc()
        self.metrics.events_handled.labels("user.created", "error").inc()
        self.assertEqual(
            self.ask("/stats")[:2],
            (
                200,
                {
                    "timestamp": "2001-09-09T01:47:40.000Z",
                    "protocols": {"tcp": {"connections": CONNECTIONS, "messages": MESSAGES}},
                    "events": {"emitted": {"user.created": 2}, "handled": {"user.created": 2}},
                },
            ),
        )

    def test_errors_are_json(self) -> None:
        status, answer, _ = self.ask("/metrics/secret")
        error = {"code": 3, "message": "Not found"}
        self.assertEqual(status, 404)
        self.assertEqual(answer, {"success": False, "error": error, "timestamp": "2001-09-09T01:47:40.000Z"})
        status, answer, _ = self.ask("/metrics", "POST")
        self.assertEqual((status, answer["error"]["message"]), (405, "Method not allowed"))

    def test_head_has_no_body(self) -> None:
        self.assertEqual(self.ask("/stats", "HEAD")[:2], (200, ""))

    def test_a_bug_is_logged_and_says_nothing(self) -> None:
        async def broken() -> tuple[int, dict[str, Any]]:
            raise KeyError("inside")

        self.client = StubTreq(MetricsResource(self.metrics, broken, lambda: NOW, self.clock))
        status, answer, _ = self.ask("/health")
        self.assertEqual((status, answer["error"]), (500, {"code": 50, "message": "Internal server error"}))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class ConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: Deferred[tuple[int, dict[str, Any]]] = Deferred()
        site = make_metrics_site(Metrics(), lambda: self.asked, lambda: NOW, Clock())
        site.doStart()
        self.addCleanup(site.doStop)
        channel = site.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection  # type: ignore[attr-defined]
        channel.makeConnection(self.transport)
        self.channel = channel

    def test_bodies_are_not_kept(self) -> None:
        """The predecessor's fault: bodies were buffered before anything was decided.

        docs/predecessor-faults.md#fault-8
        """
        request = b"POST /stats HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"
        self.channel.dataReceived(request)
        (current,) = self.channel.requests
        self.channel.dataReceived(b"x" * 999_999)
        self.assertEqual(current.content.getvalue(), b"")
        self.channel.dataReceived(b"x")
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 405 "), self.transport.value())

    def test_a_client_that_speaks_tls(self) -> None:
        """It would wait for ten seconds."""
        self.channel.dataReceived(b"\x16\x03\x01\x02\x00\x01")
        self.assertTrue(self.transport.disconnecting)

    def test_a_client_that_does_not_wait(self) -> None:
        """Its question is dropped with it."""
        self.channel.dataReceived(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.channel.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])


class CrowdTests(SynchronousTestCase):
    """Connections that ask nothing, or a byte at a time."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: Deferred[tuple[int, dict[str, Any]]] = Deferred()
        self.site = make_metrics_site(Metrics(), lambda: self.asked, lambda: NOW, self.clock)
        self.site.doStart()
        self.addCleanup(self.site.doStop)

    def connect(self, host: str = "127.0.0.1") -> tuple[Any, AbortableTransport] | None:
        channel = self.site.buildProtocol(IPv4Address("TCP", host, 1))
        if channel is None:
            return None
        transport = AbortableTransport(channel)
        channel.makeConnection(transport)
        return channel, transport

    def connected(self, host: str = "127.0.0.1") -> tuple[Any, AbortableTransport]:
        found = self.connect(host)
        assert found is not None
        return found

    def drip(self, channel: Any, transport: AbortableTransport, data: bytes) -> float:
        """The seconds until the connection is cut, when it sends a byte every five."""
        begun = self.clock.seconds()
        for n in range(len(data)):
            if transport.aborted:
                break
            channel.dataReceived(data[n : n + 1])
            self.clock.advance(5)
        return self.clock.seconds() - begun

    def test_a_byte_every_five_seconds(self) -> None:
        channel, transport = self.connected()
        self.assertEqual(self.drip(channel, transport, b"GET /metrics HTTP/1.1\r\n"), 10)

    def test_so_after_an_answer(self) -> None:
        channel, transport = self.connected()
        channel.dataReceived(ASK)
        self.assertIn(b"HTTP/1.1 200", transport.value())
        self.clock.advance(60)
        self.assertFalse(transport.aborted)
        self.assertEqual(self.drip(channel, transport, b"GET /metrics HTTP/1.1\r\n"), 10)

    def test_a_body_that_drips(self) -> None:
        channel, transport = self.connected()
        channel.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        self.assertEqual(self.drip(channel, transport, b"x" * 1000), 10)

    def test_one_that_asks_nothing(self) -> None:
        """At first, and after an answer."""
        _, silent = self.connected()
        self.clock.advance(9.9)
        self.assertFalse(silent.aborted)
        self.clock.advance(0.1)
        self.assertTrue(silent.aborted)
        channel, transport = self.connected()
        channel.dataReceived(ASK)
        self.clock.advance(74.9)
        self.assertEqual((transport.disconnecting, transport.aborted), (False, False))
        self.clock.advance(0.1)
        self.assertTrue(transport.aborted)

    def test_an_answer_that_does_not_come(self) -> None:
        channel, transport = self.connected()
        channel.dataReceived(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.clock.pump([29.9, 0.1])
        self.assertTrue(transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), self.site_calls())

    def site_calls(self) -> list[Any]:
        """The calls that are due without any connection: the site's clock."""
        return [call for call in self.clock.getDelayedCalls() if "_updateLogDateTime" in str(call)]

    def test_the_connections_of_one_address_and_one_more(self) -> None:
        """The oldest that asks nothing makes room."""
        lines = [self.connected() for _ in range(MAX_CONNECTIONS_PER_NETWORK)]
        _, late = self.connected()
        self.assertEqual([line.aborted for _, line in lines], [True] + [False] * (len(lines) - 1))
        self.assertFalse(late.aborted)
        self.connected("127.0.0.2")
        self.assertFalse(lines[1][1].aborted)

    def test_one_that_waits_for_its_answer_keeps_its_place(self) -> None:
        for _ in range(MAX_CONNECTIONS_PER_NETWORK):
            channel, _ = self.connected()
            channel.dataReceived(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertIsNone(self.connect())
        self.assertIsNotNone(self.connect("127.0.0.2"))

    def test_the_connections_in_all_and_one_more(self) -> None:
        lines = [self.connected(f"127.0.0.{n}") for n in range(MAX_CONNECTIONS)]
        self.connected("127.0.1.1")
        self.assertEqual([line.aborted for _, line in lines], [True] + [False] * (len(lines) - 1))
