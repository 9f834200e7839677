"""Whole dialogues between a device and the server, in frames."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.errors import Unauthorized
from multiproto.core.protocol import CloseReason
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE, Rule
from multiproto.core.pubsub.policy import Policy
from multiproto.tcp.protocol import TcpFactory, TcpProtocol

from ..fakes import make_core
from .wire import Wire, frame, frames, pieces, raw

AUTH = frame(0x01, token="token-ann")
WELCOME = (0x02, {"userId": "ann", "message": "Authentication successful"})
PING = frame(0x30)
LIVE = "1970-01-01T00:00:00.000Z"


def pong(at: int = 0) -> tuple[int, Any]:
    return 0x31, {"timestamp": at}


def subscribed(topic: str, id: str) -> tuple[int, Any]:
    return 0x12, {"topic": topic, "subscriptionId": id, "retention": "live"}


def error(code: int, text: str, **more: Any) -> tuple[int, Any]:
    return 0xFF, {"error": text, "code": str(code), **more}


class DeviceCase(SynchronousTestCase):
    limits = ConnectionLimits()
    max_frame = 64
    policy = Policy()

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock, policy=self.policy)
        self.line: Admission = self.house.admission("tcp", self.limits)
        self.device, self.wire = self.connect()

    def connect(self, line: Admission | None = None) -> tuple[TcpProtocol, Wire]:
        factory = TcpFactory(self.house.hub, line or self.line, self.clock.seconds, self.max_frame)
        device, wire = factory.buildProtocol(None), Wire()
        device.makeConnection(wire)
        return device, wire

    def say(self, *data: bytes) -> list[tuple[int, Any]]:
        for piece in data:
            self.device.dataReceived(piece)
        return self.wire.said()


class DialogueTests(DeviceCase):
    def test_auth_and_subscribe_in_one_write(self) -> None:
        """The predecessor's fault: frames of one packet were handled concurrently, and SUBSCRIBE failed.

        docs/predecessor-faults.md#fault-22
        """
        self.house.authenticator.slow = True
        self.assertEqual(self.say(AUTH + frame(0x10, topic="t") + PING), [])
        self.house.authenticator.release_one()
        self.assertEqual(self.wire.said(), [WELCOME, subscribed("t", "id2"), pong()])

    def test_a_publication_comes_back_to_its_subscriber(self) -> None:
        self.say(AUTH, frame(0x10, topic="a.*"))
        self.assertEqual(
            self.say(frame(0x20, topic="a.b", content={"x": 1}, id=9)),
            [
                (
                    0x21,
                    {
                        "topic": "a.b",
                        "content": {"x": 1},
                        "timestamp": LIVE,
                        "userId": "ann",
                        "id": "id3",
                        "metadata": {"senderId": "ann", "senderConnectionId": "id1"},
                    },
                ),
                (0x22, {"id": 9}),
            ],
        )
        self.assertEqual([kind for kind, _ in self.say(frame(0x20, topic="a.b"))], [0x21])

    def test_a_double_subscription_is_a_conflict_and_can_be_undone(self) -> None:
        """The predecessor's fault: a double SUBSCRIBE left a subscription that nobody could remove.

        docs/predecessor-faults.md#fault-22
        """
        self.assertEqual(
            self.say(AUTH, frame(0x10, topic="t"), frame(0x10, topic="t")),
            [WELCOME, subscribed("t", "id2"), error(6, "Already subscribed: t")],
        )
        self.assertEqual(
            self.say(frame(0x11, topic="t"), frame(0x11, topic="t"), frame(0x20, topic="t", id=1)),
            [
                (0x13, {"topic": "t"}),
                error(3, "Subscription not found", details={"resource": "Subscription", "id": "t"}),
                (0x22, {"id": 1}),
            ],
        )

    def test_a_refused_token_may_be_followed_by_a_better_one(self) -> None:
        self.assertEqual(
            self.say(frame(0x01, token="bad"), AUTH),
            [(0x03, {"error": "Invalid token", "code": "4"}), WELCOME],
        )

    def test_a_second_auth(self) -> None:
        told = self.say(AUTH, AUTH, frame(0x01, token="token-bob"))
        self.assertEqual([kind for kind, _ in told], [0x02, 0x02, 0x03])
        self.assertEqual(told[2][1]["code"], "6")

    def test_all_but_auth_and_ping_need_auth(self) -> None:
        for kind in (0x10, 0x11, 0x20):
            self.assertEqual(
                self.say(frame(kind, topic="t", id=1)), [error(4, "Authentication required", id=1)]
            )
        self.assertEqual(self.say(frame(0x31), PING), [pong()])

    def test_a_bad_frame_is_answered_and_survived(self) -> None:
        """A SUBSCRIBE without a topic harms nobody (docs/predecessor-faults.md#fault-2)."""
        self.assertEqual(
            self.say(AUTH, raw(b"\x7f"), raw(b"\x10{"), frame(0x10), raw(b"\x10\xff"), PING),
            [
                WELCOME,
                error(14, "Unknown message type 0x7F"),
                error(11, "Invalid payload: not JSON in UTF-8: it ends too early"),
                error(
                    2, "Validation failed", details={"errors": [{"path": ["topic"], "message": "Required"}]}
                ),
                error(11, "Invalid payload: not JSON in UTF-8, at byte 0"),
                pong(),
            ],
        )

    def test_the_socket_is_set_up(self) -> None:
        self.assertEqual((self.wire.no_delay, self.wire.keep_alive, self.wire.idle), (True, True, 60))

    def test_the_keep_alive_interval(self) -> None:
        """The predecessor's fault: limits that were configured but never read.  The system takes whole seconds, and so many.

        docs/predecessor-faults.md#fault-6
        """
        for seconds, idle in ((1.0, 1), (1.5, 2), (1e6, 32767)):
            factory = TcpFactory(self.house.hub, self.line, self.clock.seconds, keepalive_idle=seconds)
            wire = Wire()
            factory.buildProtocol(None).makeConnection(wire)
            self.assertEqual(wire.idle, idle)

    def test_bytes_are_counted(self) -> None:
        self.say(PING)
        self.assertEqual(self.line.stats.bytes_received, len(PING))


class RulesTests(DeviceCase):
    max_frame = 128
    policy = Policy((Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE]),))

    def test_a_rule_refuses_with_its_code(self) -> None:
        why = "Topics under devices are ruled, and no rule lets you"
        self.assertEqual(
            self.say(
                AUTH,
                frame(0x20, topic="devices.bob.1", content=1, id=1),
                frame(0x10, topic="devices.bob.1"),
                frame(0x10, topic="devices.*", after="x"),
                frame(0x10, topic="devices.ann.*"),
                frame(0x20, topic="devices.ann.1", content=1, id=2),
            ),
            [
                WELCOME,
                error(5, f"{why} publish here", id=1),
                error(5, f"{why} hear this"),
                error(5, "No topic that this pattern covers is yours to read"),
                subscribed("devices.ann.*", "id2"),
                (
                    0x21,
                    {
                        "topic": "devices.ann.1",
                        "content": 1,
                        "timestamp": LIVE,
                        "userId": "ann",
                        "id": "id3",
                        "metadata": {"senderId": "ann", "senderConnectionId": "id1"},
                    },
                ),
                (0x22, {"id": 2}),
            ],
        )


class ForgedSenderTests(DeviceCase):
    max_frame = 256

    def test_the_sender_is_the_servers_word(self) -> None:
        forged = {"senderId": "bob", "senderConnectionId": "bobs", "m": 1}
        self.say(AUTH, frame(0x10, topic="t"))
        [(_, told)] = self.say(frame(0x20, topic="t", content=1, metadata=forged))
        self.assertEqual(told["userId"], "ann")
        self.assertEqual(told["metadata"], {"m": 1, "senderId": "ann", "senderConnectionId": "id1"})


class StreamTests(DeviceCase):
    SPEECH = (
        AUTH
        + frame(0x10, topic="t")
        + raw(b"\x30")
        + frame(0x20, topic="t", content="é", id=1)
        + raw(b"\x7f")
        + PING
    )

    @given(st.lists(st.integers(min_value=0), max_size=12), st.booleans())
    @settings(max_examples=60)
    def test_any_fragmentation_gives_the_same_dialogue(self, cuts: list[int], slow: bool) -> None:
        self.setUp()
        whole = self.say(self.SPEECH)
        self.setUp()
        self.house.authenticator.slow = slow
        said = self.say(*pieces(self.SPEECH, cuts))
        if slow:
            self.house.authenticator.release_one()
            said += self.wire.said()
        self.assertEqual(said, whole)

    @given(st.binary() | st.lists(st.binary(max_size=70).map(raw), max_size=5).map(b"".join))
    def test_any_bytes_at_all_are_answered_in_frames(self, data: bytes) -> None:
        """Bad input ends at most its own connection, and with an error frame."""
        self.setUp()
        other, wire = self.connect()
        said = self.say(data)
        if self.wire.half_closed:
            self.assertIn(said[-1][1]["code"], ("10", "11"))
        other.dataReceived(PING)
        self.assertEqual(wire.said(), [pong()])

    def test_byte_by_byte(self) -> None:
        self.assertEqual([kind for kind, _ in self.say(*(bytes([b]) for b in AUTH + PING))], [0x02, 0x31])

    def test_a_frame_at_the_limit_and_one_past_it(self) -> None:
        self.assertEqual(self.say(raw(b"\x30" + b" " * 61 + b"{}")), [pong()])
        self.assertEqual(
            self.say(raw(b"\x30" + b" " * 62 + b"{}")), [error(10, "Frame of 65 bytes, at most 64")]
        )
        self.assertTrue(self.wire.half_closed)

    def test_an_empty_frame_ends_the_connection(self) -> None:
        self.assertEqual(self.say(PING + raw(b"") + PING), [pong(), error(11, "Frame without a type")])
        self.assertTrue(self.wire.half_closed)

    def test_frames_before_a_bad_one_are_obeyed_even_behind_a_slow_auth(self) -> None:
        """The predecessor's fault: good frames before a bad one were dropped.

        docs/predecessor-faults.md#fault-22
        """
        self.house.authenticator.slow = True
        self.say(AUTH + frame(0x10, topic="t") + b"\xff\xff\xff\xff" + PING)
        self.assertFalse(self.wire.half_closed)
        self.assertEqual(self.say(PING), [])
        self.house.authenticator.release_one()
        self.assertEqual(
            self.wire.said(),
            [WELCOME, subscribed("t", "id2"), error(10, "Frame of 4294967295 bytes, at most 64")],
        )
        self.assertTrue(self.wire.half_closed)

    def test_nothing_is_heard_after_a_bad_frame(self) -> None:
        self.say(raw(b""))
        self.assertEqual(self.say(PING), [])

    def test_a_large_frame_in_small_pieces_costs_no_more_than_its_size(self) -> None:
        """The predecessor's fault: buffers were concatenated per chunk, quadratic for a large slow frame.

        docs/predecessor-faults.md#fault-10
        """
        device = TcpFactory(self.house.hub, self.line, self.clock.seconds).buildProtocol(None)
        wire = Wire()
        device.makeConnection(wire)
        device.dataReceived(AUTH)
        speech = raw(b"\x30" + b" " * (2**20 - 3) + b"{}")
        for at in range(0, len(speech), 16):
            device.dataReceived(speech[at : at + 16])  # 65,537 pieces: minutes, were it quadratic
        self.assertEqual(wire.said(), [WELCOME, pong()])

    def test_a_burst_is_taken_only_as_fast_as_it_is_obeyed(self) -> None:
        """64 commands waiting pause the reading; the rest stays unread until half of them are obeyed."""
        self.house.authenticator.slow = True
        pings = b"".join(frame(0x30) for _ in range(100))
        self.assertEqual(self.say(AUTH + pings), [])
        self.assertFalse(self.wire.reading)
        self.house.authenticator.release_one()
        self.assertEqual(self.wire.said(), [WELCOME] + [pong()] * 100)
        self.assertTrue(self.wire.reading)


class BeforeAuthenticationTests(DeviceCase):
    max_frame = 2**20

    def test_before_authentication_a_frame_may_be_small_only(self) -> None:
        """docs/common.md#before-authentication"""
        limit = 16 * 1024
        self.assertEqual(self.say(raw(b"\x30" + b" " * (limit - 3) + b"{}")), [pong()])
        [(type_, fields)] = self.say(raw(b"\x30" + b" " * (limit - 2) + b"{}")[:5])
        self.assertEqual((type_, fields["code"]), (0xFF, "10"))
        self.assertTrue(self.wire.half_closed)

    def test_a_large_frame_right_behind_a_login(self) -> None:
        """It is in the same packet, and waits for the login's answer, whatever that is."""
        large = raw(b"\x30" + b" " * 20_000 + b"{}")
        self.assertEqual(self.say(AUTH + large + PING), [WELCOME, pong(), pong()])
        for slow_outcome, types in ((True, [0x02, 0x31]), (False, [0x03, 0xFF])):
            self.setUp()
            self.house.authenticator.slow = True
            self.assertEqual(self.say(AUTH + large), [])
            if slow_outcome:
                self.house.authenticator.release_one()
            else:
                self.house.authenticator.pending[0][1].errback(Unauthorized("no"))
            self.assertEqual([type_ for type_, _ in self.wire.said()], types)


class EndTests(DeviceCase):
    limits = ConnectionLimits(max_queued_replies=3)

    def test_shutdown_says_why_and_closes(self) -> None:
        stopped = self.house.hub.stopService()
        self.assertEqual(self.wire.said(), [error(55, "server is shutting down")])
        self.assertTrue(self.wire.half_closed)
        self.assertEqual(self.say(PING), [])
        self.device.readConnectionLost()
        self.assertTrue(self.wire.disconnecting)
        self.assertNoResult(stopped)
        self.device.connectionLost()
        self.successResultOf(stopped)

    def test_who_does_not_hang_up_after_the_farewell_is_cut(self) -> None:
        self.house.hub.stopService()
        self.clock.pump([1.0] * 3)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1.0)
        self.assertTrue(self.wire.aborted)

    def test_a_half_closed_peer_gets_its_answers_and_is_let_go(self) -> None:
        """The predecessor's fault: shutdown hung on a half-closed TCP peer.

        docs/predecessor-faults.md#fault-24
        """
        self.assertTrue(IHalfCloseableProtocol.providedBy(self.device))
        self.say(AUTH)
        self.house.authenticator.slow = True
        self.say(AUTH + PING + b"\0\0")
        self.device.readConnectionLost()
        self.assertFalse(self.wire.disconnecting)
        self.house.authenticator.release_one()
        self.assertEqual(self.wire.said(), [WELCOME, pong()])
        self.assertTrue(self.wire.disconnecting)

    def test_a_half_closed_peer_that_waits_does_not_hold_up_a_shutdown(self) -> None:
        """With an AUTH that no one answers, too (docs/predecessor-faults.md#fault-24)."""
        self.house.authenticator.slow = True
        self.say(AUTH)
        self.device.readConnectionLost()
        self.house.hub.stopService()
        self.assertTrue(self.wire.disconnecting)

    def test_a_reset_ends_only_itself(self) -> None:
        """The predecessor's fault: one unauthenticated TCP reset ended the whole process.

        docs/predecessor-faults.md#fault-1
        """
        other, wire = self.connect()
        self.device.dataReceived(b"\0\0")
        self.device.connectionLost(Failure(ConnectionLost()))
        other.dataReceived(PING)
        self.assertEqual(wire.said(), [pong()])
        self.assertEqual(len(self.house.hub), 1)
        self.device.writeConnectionLost()

    def test_a_lost_subscriber_leaves_nothing_behind(self) -> None:
        """The predecessor's fault: subscriptions of gone peers stayed for ever.

        docs/predecessor-faults.md#fault-4
        """
        self.say(AUTH, frame(0x10, topic="a.**"))
        self.device.connectionLost()
        self.assertEqual(len(self.house.hub), 0)
        self.assertEqual(self.house.dispatcher._tree.match("a.b"), [])

    def test_an_unauthenticated_peer_is_sent_away(self) -> None:
        """The predecessor's fault: nothing had to authenticate in any time; bytes alone do not help.

        docs/predecessor-faults.md#fault-7
        """
        for _ in range(10):
            self.assertEqual(self.say(b"\0" if self.clock.seconds() < 3 else b""), [])
            self.clock.advance(1.0)
        self.assertEqual(self.wire.said(), [error(4, "Not authenticated in time")])
        self.assertTrue(self.wire.half_closed)

    def test_an_expired_token_ends_the_connection(self) -> None:
        """One that is known to understand it is warned before."""
        self.house.authenticator.expires_at = 5.0
        warning = 0x04, {"expiresAt": "1970-01-01T00:00:05.000Z"}
        for login, warned in ((AUTH, []), (frame(0x01, token="token-ann", id=1), [warning])):
            self.device, self.wire = self.connect()
            self.say(login)
            self.clock.pump([1.0] * 5)
            self.assertEqual(self.wire.said(), [*warned, error(4, "Token has expired")])
            self.house.authenticator.expires_at = 10.0
            warning[1]["expiresAt"] = "1970-01-01T00:00:10.000Z"

    def test_a_revoked_session_ends_the_connection(self) -> None:
        self.say(AUTH)
        assert self.device.connection is not None
        self.device.connection.close(CloseReason.REVOKED)
        self.assertEqual(self.wire.said(), [error(4, "Token revoked")])

    def test_a_quiet_peer_is_asked_and_then_dropped(self) -> None:
        """The predecessor's fault: dead peers were never dropped (docs/predecessor-faults.md#fault-7)."""
        self.house.authenticator.expires_at = 10_000.0
        self.say(AUTH)
        self.clock.pump([1.0] * 30)
        self.assertEqual(self.wire.said(), [(0x30, {"timestamp": 30_000})])
        self.say(b"\0")
        self.clock.pump([1.0] * 239)
        self.assertFalse(self.wire.half_closed)
        self.clock.advance(1.0)
        self.assertEqual(self.wire.said()[-1], error(54, "Nothing heard for too long"))

    def test_a_slow_reader_is_told_so(self) -> None:
        """The predecessor's fault: no backpressure (docs/predecessor-faults.md#fault-5)."""
        self.say(AUTH, frame(0x10, topic="t"))
        self.device.transport.producer.pauseProducing()  # type: ignore[attr-defined]
        for n in range(4):
            self.assertFalse(self.wire.half_closed)
            self.device.dataReceived(frame(0x20, topic="t", content=n))
        self.assertEqual(self.wire.said(), [error(55, "Reads more slowly than it subscribed")])
        self.assertTrue(self.wire.half_closed)

    def test_what_waited_is_written_when_the_transport_takes_it(self) -> None:
        self.say(AUTH)
        self.wire.producer.pauseProducing()
        self.assertEqual(self.say(PING), [])
        self.wire.producer.resumeProducing()
        self.assertEqual(self.wire.said(), [pong()])


class CapacityTests(DeviceCase):
    def test_the_per_address_limit_and_one_past_it(self) -> None:
        """The predecessor's fault: limits that were configured but never read.

        docs/predecessor-faults.md#fault-6
        """
        line = self.house.admission("tcp", max_connections_per_network=2)
        first, _ = self.connect(line)
        _, second = self.connect(line)
        self.assertEqual(second.said(), [])
        third, wire = self.connect(line)
        self.assertEqual(wire.said(), [error(13, "More than 2 connections from one address")])
        self.assertTrue(wire.disconnecting)
        third.dataReceived(PING)
        third.readConnectionLost()
        third.connectionLost()
        self.assertEqual(wire.said(), [])
        first.connectionLost()
        _, fourth = self.connect(line)
        self.assertFalse(fourth.disconnecting)

    def test_the_total_limit(self) -> None:
        """The predecessor's fault: the total of TCP connections was never read.

        docs/predecessor-faults.md#fault-6
        """
        line = self.house.admission("tcp", max_connections=1)
        self.connect(line)
        _, wire = self.connect(line)
        self.assertEqual(wire.said(), [error(13, "More than 1 connections")])

    def test_nobody_is_admitted_while_shutting_down(self) -> None:
        self.house.hub.stopService()
        _, wire = self.connect()
        self.assertEqual(frames(wire.value()), [error(55, "server is shutting down")])
        self.assertTrue(wire.disconnecting)
