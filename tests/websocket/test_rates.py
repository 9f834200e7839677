"""Limits on a WebSocket client that sends too much, or does not read."""

from __future__ import annotations

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate

from ..rfc6455.wire import spoken, text
from .test_protocol import ANSWER, ASK, AUTH, WebSocketCase, subscribe


class CommandTests(WebSocketCase):
    limits = ConnectionLimits(command_rate=Rate(10, 2), auth_timeout=1000)

    def test_the_limit_and_one_past_it(self) -> None:
        self.assertEqual(self.say(ASK, ASK), [ANSWER, ANSWER])
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.say(ASK), [ANSWER])
        self.assertFalse(self.wire.reading)
        self.clock.advance(0.11)
        self.assertTrue(self.wire.reading)

    def test_many_in_one_packet_are_obeyed_in_order(self) -> None:
        said = self.say(b"".join(text(type="ping", id=n) for n in range(20)))
        self.assertEqual(len(said), 3)
        self.clock.pump([0.1] * 18)
        said += spoken(self.wire.take())
        self.assertEqual([each["id"] for each in said], list(range(20)))

    def test_one_that_is_not_read_can_be_told_goodbye(self) -> None:
        self.say(*[ASK] * 3)
        self.house.hub.stopService()
        self.assertEqual(spoken(self.wire.take())[-1][:2], ("close", 1001))
        self.assertTrue(self.wire.reading)


class PublishTests(WebSocketCase):
    def test_the_limit_and_one_past_it(self) -> None:
        """What is over the rate waits, with all that came behind it, and no more is read than ever."""
        self.house.publisher.limits = PublishLimits(SharedBuckets("user", Rate(10, 1), self.clock))
        self.say(AUTH)
        publications = b"".join(text(type="message", topic="a", data=n, id=n) for n in range(200))
        self.assertEqual(self.say(publications + ASK), [{"type": "ack", "id": 0}])
        self.assertFalse(self.wire.reading)
        self.clock.advance(0.09)
        self.assertEqual(self.wire.take(), b"")
        self.clock.pump([0.1] * 200)
        *acknowledged, last = spoken(self.wire.take())
        self.assertEqual(acknowledged, [{"type": "ack", "id": n} for n in range(1, 200)])
        self.assertEqual((last, self.wire.reading), (ANSWER, True))


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
