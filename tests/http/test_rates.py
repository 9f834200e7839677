"""Limits on an HTTP client that connects too often, publishes or sends too much, or does not read."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.web.static import Data

from multiproto.core.addresses import AddressRules
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.http.limits import HttpLimits
from multiproto.http.wiring import SiteSettings

from .client import Line, responses
from .sites import SiteCase
from .test_topics import ANN, Stream

ROOT = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


class ArrivalTests(SiteCase):
    arrivals = Rate(0.5, 2)

    def line(self, request: bytes = ROOT, host: str = "10.0.0.1") -> Line:
        line = Line(self.site, host)
        line.send(request)
        return line

    def statuses(self, *lines: Line) -> list[int | None]:
        return [line.answer().status if line.transport.value() else None for line in lines]

    def test_those_above_the_rate_wait_for_their_turn(self) -> None:
        """Opening one connection after the other is slowed, and not refused; others do not wait for it."""
        lines = [self.line() for _ in range(4)]
        self.assertEqual(self.statuses(*lines), [200, 200, None, None])
        self.assertEqual(self.statuses(self.line(host="10.0.0.2")), [200])
        self.clock.advance(1.999)
        self.assertEqual(self.statuses(*lines[2:]), [None, None])
        self.clock.advance(0.001)
        self.assertEqual(self.statuses(*lines[2:]), [200, None])
        self.clock.advance(2)
        self.assertEqual(self.statuses(lines[3]), [200])
        self.assertFalse(lines[3].closed)

    def test_one_that_would_wait_too_long_is_told_when_to_come_back(self) -> None:
        for _ in range(4):
            self.line()
        line = self.line()
        answer = line.answer()
        self.assertEqual((answer.status, answer.code, line.closed), (429, 7, True))
        self.assertEqual((answer.headers["retry-after"], answer.headers["connection"]), ("6", "close"))
        text = "Too many connections from this address; try again in 6 s (CONNECT_RATE)"
        self.assertEqual(answer.json["error"]["message"], text)
        line.send(ROOT)
        self.assertEqual(line.heard(), b"")

    def test_health_checks_neither_wait_nor_count(self) -> None:
        for path in (b"/health", b"/health/live", b"/health/ready") * 9:
            self.assertEqual(self.statuses(self.line(LIVE.replace(b"/health/live", path))), [200])
        lines = [self.line() for _ in range(3)]
        self.assertEqual(self.statuses(*lines), [200, 200, None])
        self.assertEqual(self.statuses(self.line(LIVE)), [200])
        self.assertEqual(self.statuses(self.line(LIVE + ROOT)), [200])

    def test_what_comes_meanwhile_is_answered_in_order(self) -> None:
        self.line(), self.line()
        body = b'{"email":1}'
        post = b"POST /api/v1/nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        line = self.line(post + body[:4])
        line.send(body[4:] + ROOT)
        self.assertEqual(line.heard(), b"")
        self.clock.advance(2)
        self.assertEqual([answer.status for answer in responses(line.heard())], [404, 200])

    def test_one_that_leaves_gives_its_place_back(self) -> None:
        self.line(), self.line()
        for _ in range(20):
            self.line().hang_up()
        last = self.line()
        self.clock.advance(2)
        self.assertEqual(self.statuses(last), [200])

    def test_one_that_half_closes_is_asked_whether_it_is_there(self) -> None:
        """Who has closed the connection answers an interim response with a reset, and need not be served."""
        self.line(), self.line()
        line = self.line()
        line.say_no_more()
        self.assertEqual(line.heard(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.clock.advance(2)
        self.assertEqual(self.statuses(line), [200])
        self.assertTrue(line.closed)

    def test_a_proxy_is_no_client_but_the_websockets_of_its_clients_count(self) -> None:
        self.mounts[b"/ws"] = Data(b"hi", "text/plain")
        rules = AddressRules(trusted_proxies=(ip_network("10.0.0.1"),))
        self.site = self.make_site(SiteSettings(address_rules=rules))
        upgrade = b"GET /ws HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        self.assertEqual(self.statuses(*[self.line() for _ in range(9)]), [200] * 9)
        lines = [self.line(upgrade % b"192.0.2.1") for _ in range(3)] + [self.line(upgrade % b"192.0.2.2")]
        self.assertEqual(self.statuses(*lines), [200, 200, None, 200])
        self.clock.advance(2)
        self.assertEqual(self.statuses(lines[2]), [200])

    def test_a_connection_that_stays_comes_once(self) -> None:
        line = Line(self.site)
        for _ in range(10):
            line.send(ROOT)
            self.assertEqual(line.answer().status, 200)


class PublishTests(SiteCase):
    def test_the_limit_and_one_past_it(self) -> None:
        self.house.publisher.limits = PublishLimits(SharedBuckets("user", Rate(0.4, 1), self.clock))
        line = Line(self.site)
        answers = []
        for _ in range(2):
            line.ask("POST", "/api/v1/topics/a", {"data": 1}, {"Authorization": ANN})
            answers.append(line.answer())
        self.assertEqual([answer.status for answer in answers], [202, 429])
        self.assertEqual((answers[1].code, answers[1].headers["retry-after"]), (7, "3"))
        text = "Too many publications by this user; try again in 3 s (PUBLISH_RATE)"
        self.assertEqual(answers[1].json["error"]["message"], text)
        self.assertFalse(line.closed)


class ByteTests(SiteCase):
    settings = SiteSettings(limits=HttpLimits(read_rate=Rate(1000, len(LIVE))))

    def setUp(self) -> None:
        super().setUp()
        self.line = Line(self.site)

    @property
    def reading(self) -> bool:
        return self.line.transport.producerState == "producing"

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        self.line.send(LIVE)
        self.assertEqual((self.line.answer().status, self.reading), (200, True))
        self.line.send(LIVE[:1])
        self.assertFalse(self.reading)
        self.clock.advance(0.001)
        self.assertTrue(self.reading)
        self.line.send(LIVE[1:])
        self.assertEqual((self.line.answer().status, self.reading), (200, False))

    def test_one_that_has_sent_ahead_waits_for_both(self) -> None:
        self.line = Line(self.make_site(SiteSettings(limits=HttpLimits(read_rate=Rate(1_000_000, 1)))))
        self.line.channel.pauseProducing()
        self.line.send(b"X" * (HttpLimits().max_pipelined_bytes + 1))
        self.clock.advance(1)
        self.assertFalse(self.reading)
        self.line.channel.resumeProducing()
        self.assertTrue(self.reading)

    def test_nothing_is_left_of_one_that_leaves(self) -> None:
        self.line.send(LIVE * 2)
        self.line.hang_up()
        self.clock.advance(1)
        self.assertFalse(self.reading)


class SlowTests(SiteCase):
    def test_a_slow_reader_of_the_log_is_told_where_to_resume(self) -> None:
        self.successResultOf(self.house.follower.startService())
        stream = Stream.open(self.site, "/api/v1/topics/users/events")
        stream.line.channel.pauseProducing()
        self.house.log.append(10, content={"user": "x" * 30_000})
        self.house.follower.wake()
        self.assertEqual(self.streams.stats.slow_consumers_total, 1)
        stream.line.channel.resumeProducing()
        *told, farewell = [event for event in stream.heard() if event.get("event") != "subscribed"]
        self.assertEqual(farewell["event"], "farewell")
        data = farewell["data"]
        self.assertEqual((data["reason"], data["cursor"]), ("slow", told[-1]["id"]))


class HandshakeTests(SiteCase):
    def test_half_a_handshake_is_waited_for_so_long_and_no_longer(self) -> None:
        """A WebSocket begins with a request, and that has its deadline however busily it comes."""
        line = Line(self.site)
        line.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n")
        self.clock.advance(HttpLimits().head_timeout - 0.001)
        line.send(b"X")
        self.assertEqual((line.closed, line.heard()), (False, b""))
        self.clock.advance(0.001)
        self.assertEqual((line.answer().status, line.closed), (408, True))
