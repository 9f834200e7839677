"""Limits on an HTTP client that connects too often, publishes or sends too much, or does not read."""

from __future__ import annotations

from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.http.limits import HttpLimits
from multiproto.http.wiring import SiteSettings

from .client import Line
from .sites import SiteCase
from .test_topics import ANN, Stream

LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"


class ArrivalTests(SiteCase):
    arrivals = Rate(0.5, 2)

    def test_the_limit_and_one_past_it(self) -> None:
        """It is told before anything is read: also one that wants to be a WebSocket."""
        for _ in range(2):
            self.assertFalse(Line(self.site).closed)
        line = Line(self.site)
        answer = line.answer()
        self.assertEqual((answer.status, answer.code, line.closed), (429, 7, True))
        self.assertEqual((answer.headers["retry-after"], answer.headers["connection"]), ("2", "close"))
        text = "Too many connections from this address; try again in 2 s (CONNECT_RATE)"
        self.assertEqual(answer.json["error"]["message"], text)
        line.send(LIVE)
        self.assertEqual(line.heard(), b"")
        self.assertFalse(Line(self.site, "10.0.0.2").closed)
        self.clock.advance(2)
        self.assertFalse(Line(self.site).closed)

    def test_a_connection_that_stays_comes_once(self) -> None:
        line = Line(self.site)
        for _ in range(10):
            line.send(LIVE)
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
