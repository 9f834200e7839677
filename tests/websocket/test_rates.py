"""Limits on a WebSocket client that sends too much, or does not read."""

from __future__ import annotations

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate

from ..rfc6455.wire import spoken, text
from .test_protocol import ANSWER, ASK, AUTH, WebSocketCase, error, subscribe


class CommandTests(WebSocketCase):
    limits = ConnectionLimits(command_rate=Rate(10, 2), auth_timeout=1000)

    def test_the_limit_and_one_past_it(self) -> None:
        said = error(429, "RATE_LIMITED", "Too many commands", retryAfter=100, id="x")
        self.assertEqual(self.say(ASK, ASK, text(type="ping", id="x")), [ANSWER, ANSWER, said])
        self.clock.advance(0.1)
        self.assertEqual(self.say(ASK), [ANSWER])

    def test_a_token_that_comes_too_soon(self) -> None:
        refused = error(429, "RATE_LIMITED", "Too many commands", retryAfter=100) | {"type": "auth_error"}
        self.assertEqual(self.say(ASK, ASK, AUTH)[-1], refused)

    def test_one_who_goes_on(self) -> None:
        said = self.say(*[ASK] * 50)
        self.assertEqual(len(said), 2 + 20 + 1)
        self.assertEqual(said[-1], ("close", 1008, "Too many commands, in spite of being told"))


class PublishTests(WebSocketCase):
    def test_the_limit_and_one_past_it(self) -> None:
        self.house.publisher._limits = PublishLimits(SharedBuckets("user", Rate(10, 1), self.clock))
        publish = text(type="message", topic="a", data=1, id=1)
        self.say(AUTH)
        refused = error(429, "RATE_LIMITED", "Too many publications by this user", retryAfter=100, id=1)
        self.assertEqual(self.say(publish, publish), [{"type": "ack", "id": 1}, refused])


class ByteTests(WebSocketCase):
    limits = ConnectionLimits(read_rate=Rate(100, 2 * len(ASK)), auth_timeout=1000)

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        self.assertEqual(self.say(ASK, ASK), [ANSWER, ANSWER])
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.say(ASK[:1]), [])
        self.assertFalse(self.wire.reading)
        self.clock.advance(0.01)
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.say(ASK[1:]), [])
        self.clock.advance(1)
        self.assertEqual(spoken(self.wire.take()), [ANSWER])


class SlowTests(WebSocketCase):
    limits = ConnectionLimits(max_queued_replies=3)

    def test_a_slow_reader_of_the_log_is_told_where_to_resume(self) -> None:
        self.successResultOf(self.house.follower.startService())
        self.say(AUTH, subscribe("users"))
        self.house.log.append(1)
        self.house.follower.wake()
        self.wire.producer.pauseProducing()
        self.house.log.append(4)
        self.house.follower.wake()
        slow = "Reads more slowly than it subscribed"
        self.assertEqual(spoken(self.wire.take())[-1], ("close", 1013, f"{slow}; after=cursor1"))
