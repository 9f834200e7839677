"""Limits on a device that connects too often, sends too much, or does not read."""

from __future__ import annotations

from attrs import evolve

from multiproto.core.connections.admission import ConnectionLimits, ConnectionRateLimiter
from multiproto.core.ratelimit.publish_limits import PublishLimits
from multiproto.core.ratelimit.shared_bucket import SharedBuckets
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.tcp.protocol import MAX_HELD_BYTES

from .test_protocol import AUTH, PING, WELCOME, DeviceCase, error, pong
from .wire import frame


class ArrivalTests(DeviceCase):
    limits = ConnectionLimits(auth_timeout=5)

    def setUp(self) -> None:
        super().setUp()
        limiter = ConnectionRateLimiter(Rate(0.5, 1), self.clock)
        self.limited = evolve(self.line, rate_limiter=limiter)
        self.connect(self.limited)

    def test_one_above_the_rate_waits_for_its_turn(self) -> None:
        device, wire = self.connect(self.limited)
        device.dataReceived(AUTH)
        device.dataReceived(PING)
        self.clock.advance(1.999)
        self.assertEqual((wire.said(), wire.reading), ([], True))
        self.clock.advance(0.001)
        self.assertEqual(wire.said(), [WELCOME, pong(2000)])
        self.assertTrue(wire.reading)

    def test_its_time_to_authenticate_begins_then(self) -> None:
        _, wire = self.connect(self.limited)
        self.clock.pump([1] * 6)
        self.assertEqual(wire.said(), [])
        self.clock.pump([1] * 2)
        self.assertEqual(wire.said(), [error(4, "Not authenticated in time")])

    def test_one_that_would_wait_too_long_is_refused(self) -> None:
        self.connect(self.limited), self.connect(self.limited)
        device, wire = self.connect(self.limited)
        text = "Too many connections from this address; try again in 6 s (CONNECT_RATE)"
        said = error(7, text, retryAfter=6000)
        self.assertEqual((wire.said(), wire.disconnecting), ([said], True))
        device.dataReceived(PING)
        device.connectionLost()
        self.assertEqual((wire.said(), self.limited.stats.connections_by_status["rejected"]), ([], 1))

    def test_one_that_leaves_gives_its_place_back(self) -> None:
        for _ in range(20):
            device, wire = self.connect(self.limited)
            device.dataReceived(AUTH)
            device.connectionLost()
        device, wire = self.connect(self.limited)
        device.dataReceived(PING)
        self.clock.advance(2)
        self.assertEqual(wire.said(), [pong(2000)])

    def test_one_that_has_sent_all_is_answered_and_one_that_sent_nothing_ends(self) -> None:
        device, wire = self.connect(self.limited)
        device.dataReceived(PING)
        device.readConnectionLost()
        silent, silent_wire = self.connect(self.limited)
        silent.readConnectionLost()
        self.assertEqual((wire.disconnecting, silent_wire.disconnecting), (False, True))
        self.clock.advance(2)
        self.assertEqual(wire.said(), [pong(2000)])
        device.readConnectionLost()  # as the transport does again, once it reads
        self.assertTrue(wire.disconnecting)

    def test_no_more_is_read_of_it_than_so_much(self) -> None:
        device, wire = self.connect(self.limited)
        device.dataReceived(b"x" * MAX_HELD_BYTES)
        self.assertTrue(wire.reading)
        device.dataReceived(b"x")
        self.assertFalse(wire.reading)

    def test_it_can_be_told_goodbye(self) -> None:
        _, wire = self.connect(self.limited)
        self.house.hub.stopService()
        self.assertEqual(wire.said(), [error(55, "server is shutting down")])


class CommandTests(DeviceCase):
    limits = ConnectionLimits(command_rate=Rate(10, 2), auth_timeout=1000)

    def test_the_limit_and_one_past_it(self) -> None:
        self.assertEqual(self.say(PING, PING), [pong(), pong()])
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.say(PING), [pong()])
        self.assertFalse(self.wire.reading)
        self.clock.advance(0.11)
        self.assertTrue(self.wire.reading)

    def test_many_in_one_packet_are_obeyed_in_order(self) -> None:
        said = self.say(AUTH + b"".join(frame(0x10, topic="a", id=n) for n in range(20)))
        self.assertEqual(len(said), 3)
        self.clock.pump([0.1] * 18)
        said += self.wire.said()
        self.assertEqual([fields.get("id") for _, fields in said[2:]], list(range(1, 20)))

    def test_one_that_is_not_read_can_be_told_goodbye(self) -> None:
        self.say(*[PING] * 3)
        self.house.hub.stopService()
        self.assertEqual(self.wire.said()[-1], error(55, "server is shutting down"))
        self.assertTrue(self.wire.reading)


class PublishTests(DeviceCase):
    def test_the_limit_and_one_past_it(self) -> None:
        """What is over the rate waits, with all that came behind it, and no more is read than ever."""
        self.house.publisher.limits = PublishLimits(SharedBuckets("user", Rate(10, 1), self.clock))
        self.say(AUTH)
        publications = b"".join(frame(0x20, topic="a", content=n, id=n) for n in range(200))
        said = self.say(publications + frame(0x30, id="last"))
        self.assertEqual((said, self.wire.reading), ([(0x22, {"id": 0})], False))
        self.clock.advance(0.09)
        self.assertEqual(self.wire.said(), [])
        self.clock.advance(0.02)
        self.assertEqual(self.wire.said(), [(0x22, {"id": 1})])
        self.clock.pump([0.1] * 200)
        *acknowledged, (kind, _) = self.wire.said()
        self.assertEqual(acknowledged, [(0x22, {"id": n}) for n in range(2, 200)])
        self.assertEqual((kind, self.wire.reading), (0x31, True))


class ByteTests(DeviceCase):
    limits = ConnectionLimits(read_rate=Rate(100, 5), auth_timeout=1000)

    def test_at_the_limit_and_one_byte_past_it(self) -> None:
        """What was read is obeyed, and what comes behind it waits."""
        self.assertEqual(len(PING), 7)
        self.assertEqual(self.say(PING[:5]), [])
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.say(PING[5:6]), [])
        self.assertFalse(self.wire.reading)
        self.clock.advance(0.01)
        self.assertTrue(self.wire.reading)

    def test_frames_that_came_are_obeyed_once_there_is_room(self) -> None:
        self.assertEqual(self.say(PING * 3), [])
        self.clock.advance(0.16)
        self.assertEqual((self.wire.said(), self.wire.reading), ([pong(160)] * 3, True))

    def test_one_who_is_not_read_can_be_told_goodbye(self) -> None:
        self.say(PING * 3)
        self.house.hub.stopService()
        self.assertEqual(self.wire.said(), [error(55, "server is shutting down")])
        self.assertTrue(self.wire.reading)


class SlowTests(DeviceCase):
    limits = ConnectionLimits(max_queued_replies=3)

    def test_a_slow_reader_of_the_log_is_told_where_to_resume(self) -> None:
        self.successResultOf(self.house.follower.startService())
        self.say(AUTH, frame(0x10, topic="users"))
        self.house.log.append(1)
        self.house.follower.wake()
        self.wire.producer.pauseProducing()
        self.house.log.append(4)
        self.house.follower.wake()
        last = self.wire.said()[-1]
        slow = "Reads more slowly than it subscribed"
        self.assertEqual(last, error(55, slow, details={"cursor": "cursor1"}))


class DeadlineTests(DeviceCase):
    def test_half_a_frame_buys_no_time(self) -> None:
        """Ten seconds without authentication are too long, whatever else arrives."""
        for byte in AUTH[:9]:
            self.device.dataReceived(bytes([byte]))
            self.clock.advance(1)
        self.assertEqual(self.wire.said(), [])
        self.clock.advance(1)
        self.assertEqual(self.wire.said(), [error(4, "Not authenticated in time")])
