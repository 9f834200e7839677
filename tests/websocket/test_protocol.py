"""Whole dialogues between a WebSocket client and the server."""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.identity import Identity
from multiproto.core.protocol import CloseReason
from multiproto.core.pubsub.permissions import PUBLISH, SUBSCRIBE, Rule
from multiproto.core.pubsub.policy import Policy
from multiproto.websocket.protocol import WebSocketEchoProtocol, WebSocketFactory, WebSocketProtocol

from ..fakes import make_core
from ..rfc6455.wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Wire,
    close,
    frame,
    frames,
    handshake,
    pieces,
    spoken,
    text,
)

AUTH = text(type="auth", token="token-ann")
WELCOME = {"type": "auth_success", "userId": "ann", "connectionId": "id1"}
ASK = text(type="ping")
ANSWER = {"type": "pong"}
FORGED = {"senderId": "bob", "senderConnectionId": "bobs"}


def subscribe(topic: str) -> bytes:
    return text(type="subscribe", topic=topic)


def subscribed(topic: str) -> dict[str, Any]:
    return {"type": "subscribed", "topic": topic, "retention": "live"}


def error(code: int, name: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "code": code, "name": name, "message": message, **more}


class WebSocketCase(SynchronousTestCase):
    limits = ConnectionLimits()
    headers: dict[str, str | None] = {}
    kind: type[WebSocketProtocol] = WebSocketProtocol
    max_message = 256
    policy = Policy()

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock, policy=self.policy)
        self.line: Admission = self.house.admission("websocket", self.limits)
        self.protocol, self.wire = self.connect()

    def connect(self, line: Admission | None = None) -> tuple[WebSocketProtocol, Wire]:
        """An open WebSocket; what was sent after the handshake is still in its transport."""
        factory = WebSocketFactory(
            self.house.hub,
            line or self.line,
            self.clock,
            self.clock.seconds,
            lambda origin: False,
            max_message=self.max_message,
            protocol_class=self.kind,
        )
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(handshake(**self.headers))
        head, _, rest = wire.take().partition(b"\r\n\r\n")
        self.head = head.decode()
        self.assertIn("HTTP/1.1 101 ", self.head)
        wire.write(rest)
        return protocol, wire

    def say(self, *data: bytes) -> list[Any]:
        for piece in data:
            self.protocol.dataReceived(piece)
        return spoken(self.wire.take())


class DialogueTests(WebSocketCase):
    def test_auth_and_subscribe_in_one_write(self) -> None:
        self.house.authenticator.slow = True
        self.assertEqual(self.say(AUTH + subscribe("t") + ASK), [])
        self.house.authenticator.release_one()
        self.assertEqual(spoken(self.wire.take()), [WELCOME, subscribed("t"), ANSWER])

    def test_a_publication_comes_back_to_its_subscriber(self) -> None:
        self.say(AUTH, subscribe("a.*"))
        self.assertEqual(
            self.say(text(type="message", topic="a.b", data={"x": 1}, metadata=FORGED | {"m": 1}, id=9)),
            [
                {
                    "type": "message",
                    "topic": "a.b",
                    "data": {"x": 1},
                    "metadata": {"m": 1, "senderId": "ann", "senderConnectionId": "id1"},
                    "id": "id3",
                },
                {"type": "ack", "id": 9},
            ],
        )
        self.assertEqual(
            [m["type"] for m in self.say(text(type="message", topic="a.b", data=1))], ["message"]
        )

    def test_unsubscribing_what_is_not_subscribed_succeeds(self) -> None:
        self.assertEqual(
            self.say(AUTH, text(type="unsubscribe", topic="t", id=1)),
            [WELCOME, {"type": "unsubscribed", "topic": "t", "id": 1}],
        )

    def test_refusals_leave_the_connection_open(self) -> None:
        """A `subscribe` without a topic harms nobody (docs/predecessor-faults.md#fault-2)."""
        self.assertEqual(
            self.say(
                text(type="subscribe", topic="t", id="s"),
                text(type="auth", token="bad", id=1),
                AUTH,
                text(type="subscribe", id=2),
                frame(TEXT, b"{"),
                text(type="nonsense"),
                text(type="message", topic="users", data=1, id=3),
                ASK,
            ),
            [
                error(401, "UNAUTHORIZED", "Authentication required", id="s"),
                {
                    "type": "auth_error",
                    "code": 401,
                    "name": "UNAUTHORIZED",
                    "message": "Invalid token",
                    "id": 1,
                },
                WELCOME,
                error(
                    400,
                    "VALIDATION_ERROR",
                    "Validation failed",
                    details={"errors": [{"path": ["topic"], "message": "Required"}]},
                    id=2,
                ),
                error(2, "INVALID_INPUT", "Malformed message: not JSON in UTF-8: it ends too early"),
                error(3, "TCP_INVALID_MESSAGE_TYPE", "Unknown message type"),
                error(403, "FORBIDDEN", "This topic is written by the server only", id=3),
                ANSWER,
            ],
        )

    def test_auth_without_a_token(self) -> None:
        (refused,) = self.say(text(type="auth", id=1))
        self.assertEqual((refused["type"], refused["code"], refused["id"]), ("auth_error", 401, 1))
        self.assertEqual(self.say(AUTH), [WELCOME])

    def test_a_subscription_that_can_never_hear_anything(self) -> None:
        self.say(AUTH)
        warned, heard = self.say(subscribe("messages.channel.a.b"), subscribe("messages.channel.a%2Eb"))
        self.assertIn("messages.channel.<channel>", warned["warning"])
        self.assertNotIn("warning", heard)

    def test_a_subscription_with_wildcards_of_mqtt(self) -> None:
        """They are words, so it is accepted; but hardly meant so."""
        self.say(AUTH)
        for pattern, is_warned in (
            *(("a.#", True), ("a/+/b", True), ("+.a", True), ("#", True), ("a/#", True)),
            *(("a.*", False), ("c#.a", False), ("a+b", False), ("#room", False)),
        ):
            (said,) = self.say(subscribe(pattern))
            self.assertEqual("no wildcards" in said.get("warning", ""), is_warned, pattern)

    def test_a_binary_message_holds_the_same_json(self) -> None:
        self.assertEqual(
            self.say(frame(BINARY, b'{"type": "ping"}'), frame(BINARY, b"\xff")),
            [ANSWER, error(2, "INVALID_INPUT", "Malformed message: not JSON in UTF-8, at byte 0")],
        )

    def test_a_protocol_ping_is_answered_with_its_payload(self) -> None:
        self.assertEqual(self.say(frame(PING, b"hi") + frame(PING)), ["pong hi", "pong "])

    def test_frames_behind_the_handshake_in_one_packet(self) -> None:
        factory = WebSocketFactory(
            self.house.hub, self.line, self.clock, self.clock.seconds, lambda origin: False
        )
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(handshake() + ASK)
        self.assertEqual(spoken(wire.take().partition(b"\r\n\r\n")[2]), [ANSWER])


class SubprotocolTests(WebSocketCase):
    headers = {"Sec-WebSocket-Protocol": "chat.v2, json"}

    def test_of_subprotocols_that_it_does_not_know_the_first_is_selected(self) -> None:
        """A browser fails the connection where it offered some and none is selected."""
        self.assertIn("\r\nSec-WebSocket-Protocol: chat.v2", self.head)
        self.assertEqual(self.say(AUTH), [WELCOME])


class UnnamedSubprotocolTests(WebSocketCase):
    headers = {"Sec-WebSocket-Protocol": ', "q", caf\xe9, a b, chat, json'}

    def test_what_is_no_name_is_not_selected(self) -> None:
        """RFC 6455, 4.1: they are tokens; an empty one was selected, which no client takes."""
        self.assertIn("\r\nSec-WebSocket-Protocol: chat\r\n", self.head)


class NoSubprotocolTests(WebSocketCase):
    def test_none_is_selected_where_none_is_offered(self) -> None:
        self.assertNotIn("sec-websocket-protocol", self.head.lower())


class RulesTests(WebSocketCase):
    policy = Policy((Rule("devices.{user}.**", [PUBLISH, SUBSCRIBE]),))

    def test_a_rule_refuses_with_its_code(self) -> None:
        why = "Topics under devices are ruled, and no rule lets you"
        self.assertEqual(
            self.say(
                AUTH,
                text(type="message", topic="devices.bob.1", data=1, id=1),
                subscribe("devices.bob.1"),
                text(type="subscribe", topic="devices.ann.*", after="x", id=2),
                subscribe("devices.ann.*"),
                text(type="message", topic="devices.ann.1", data=1, id=3),
            )[1:],
            [
                error(403, "FORBIDDEN", f"{why} publish here", id=1),
                error(403, "FORBIDDEN", f"{why} hear this"),
                error(403, "FORBIDDEN", "No topic that this pattern covers is yours to read", id=2),
                subscribed("devices.ann.*"),
                {
                    "type": "message",
                    "topic": "devices.ann.1",
                    "data": 1,
                    "metadata": {"senderId": "ann", "senderConnectionId": "id1"},
                    "id": "id3",
                },
                {"type": "ack", "id": 3},
            ],
        )


class BearerTests(WebSocketCase):
    headers = {"Authorization": "Bearer token-ann"}

    def test_a_token_in_the_handshake_authenticates(self) -> None:
        self.assertEqual(self.say(subscribe("t")), [WELCOME, subscribed("t")])
        self.assertNotIn("token-ann", str(vars(self.protocol)))


class WrongBearerTests(WebSocketCase):
    headers = {"Authorization": "bearer nonsense"}

    def test_a_refused_token_is_told_and_another_may_follow(self) -> None:
        self.assertEqual([m["type"] for m in self.say(AUTH)], ["auth_error", "auth_success"])


class OtherSchemeTests(WebSocketCase):
    headers = {"Authorization": "Basic eDp5"}

    def test_another_scheme_is_nobodys_business_here(self) -> None:
        self.assertEqual(self.say(AUTH), [WELCOME])


class StreamTests(WebSocketCase):
    SPEECH = (
        AUTH
        + frame(TEXT, b'{"type": "sub', fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b'scribe", "topic"', fin=False)
        + frame(CONTINUATION, b': "t"}')
        + text(type="message", topic="t", data="\u00e9" * 9, id=1)
        + frame(PONG)
        + frame(TEXT)
        + close(3000, "bye")
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
            # How large the next message may be depends on the login: nothing is read before it is answered.
            self.assertEqual(said, [])
            self.house.authenticator.release_one()
            said = spoken(self.wire.take())
        self.assertEqual(said, whole)
        self.assertEqual(said[-1], ("close", 3000, "bye"))

    @given(st.lists(st.integers(min_value=0), max_size=8))
    @settings(max_examples=30)
    def test_any_fragmentation_of_a_message_into_frames(self, cuts: list[int]) -> None:
        self.setUp()
        message = json.dumps({"type": "auth", "token": "token-ann", "id": "\u00e9\u4e2d"}, ensure_ascii=False)
        parts = pieces(message.encode(), cuts)
        last = len(parts) - 1
        data = [frame(TEXT if n == 0 else CONTINUATION, part, fin=n == last) for n, part in enumerate(parts)]
        self.assertEqual(self.say(*data), [WELCOME | {"id": "\u00e9\u4e2d"}])

    def test_byte_by_byte(self) -> None:
        self.assertEqual(self.say(*(bytes([byte]) for byte in AUTH + ASK)), [WELCOME, ANSWER])

    def test_a_burst_is_taken_only_as_fast_as_it_is_obeyed(self) -> None:
        """64 commands waiting pause the reading; the rest stays unread until half of them are obeyed."""
        self.house.authenticator.slow = True
        self.assertEqual(self.say(AUTH + ASK * 100), [])
        self.assertFalse(self.wire.reading)
        self.house.authenticator.release_one()
        self.assertEqual(spoken(self.wire.take()), [WELCOME] + [ANSWER] * 100)
        self.assertTrue(self.wire.reading)

    def test_what_came_before_an_oversize_message_is_obeyed_behind_a_slow_auth(self) -> None:
        self.house.authenticator.slow = True
        self.assertEqual(self.say(AUTH + subscribe("t") + frame(TEXT, b" " * 257) + ASK), [])
        self.house.authenticator.release_one()
        said = spoken(self.wire.take())
        self.assertEqual((said[:2], said[2][:2], len(said)), ([WELCOME, subscribed("t")], ("close", 1009), 3))


class DeflateTests(WebSocketCase):
    headers = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}

    def test_it_is_agreed_on(self) -> None:
        self.assertIn("Sec-WebSocket-Extensions: permessage-deflate", self.head)

    def test_a_long_delivery_is_compressed_and_a_short_one_is_not(self) -> None:
        self.say(AUTH, subscribe("t"))
        for length, rsv in [(10, 0), (190, 4)]:
            self.protocol.dataReceived(text(type="message", topic="t", data="x" * length))
            [found] = frames(self.wire.take())
            said = zlib.decompressobj(-15).decompress(found.payload) if rsv else found.payload
            self.assertEqual((found.rsv, json.loads(said)["data"]), (rsv, "x" * length))

    def test_the_limit_for_what_we_read_is_none_for_what_we_say(self) -> None:
        """Autobahn raised."""
        self.say(AUTH, subscribe("t"))
        noise = "".join(sha256(bytes([n])).hexdigest() for n in range(20))
        ann = Identity("ann", "session-ann", 1000.0, deadline=1000.0)
        self.successResultOf(
            Deferred.fromCoroutine(self.house.publisher.publish(ann, "t", noise, None, "elsewhere"))
        )
        [found] = frames(self.wire.take())
        self.assertGreater(len(found.payload), self.max_message)
        self.assertEqual(json.loads(zlib.decompressobj(-15).decompress(found.payload))["data"], noise)


class NoDeflateTests(WebSocketCase):
    def agreed(self, offer: str, compress: bool = True) -> str:
        factory = WebSocketFactory(
            self.house.hub, self.line, self.clock, self.clock.seconds, lambda origin: False, compress=compress
        )
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(handshake(f"Sec-WebSocket-Extensions: {offer}"))
        head = wire.take().decode()
        self.assertIn(" 101 ", head)
        return head.partition("Sec-WebSocket-Extensions: ")[2].partition("\r\n")[0]

    def test_offers_that_make_no_sense_are_declined(self) -> None:
        """RFC 7692, 5 and 7.1: they do not fail the handshake."""
        for offer in (
            "permessage-deflate; server_max_window_bits=99",
            "permessage-deflate; nonsense",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-bzip2",
            "x-webkit-deflate-frame",
        ):
            self.assertEqual(self.agreed(offer), "")
        self.assertEqual(
            self.agreed("permessage-deflate; nonsense, permessage-deflate"), "permessage-deflate"
        )

    def test_a_smaller_window_is_granted(self) -> None:
        self.assertEqual(
            self.agreed("permessage-deflate; server_max_window_bits=10; server_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10",
        )

    def test_it_can_be_switched_off(self) -> None:
        self.assertEqual(self.agreed("permessage-deflate", compress=False), "")


class EndTests(WebSocketCase):
    limits = ConnectionLimits(max_queued_replies=3)

    def test_shutdown_says_1001_and_waits_for_the_answer(self) -> None:
        stopped = self.house.hub.stopService()
        self.assertEqual(spoken(self.wire.take()), [("close", 1001, "server is shutting down")])
        self.assertEqual(self.say(ASK + frame(PING)), [])
        self.assertFalse(self.wire.disconnecting)
        self.assertEqual(self.say(close(1001)), [])
        self.assertTrue(self.wire.disconnecting)
        self.assertNoResult(stopped)
        self.protocol.connectionLost()
        self.successResultOf(stopped)

    def test_who_does_not_answer_the_close_is_cut(self) -> None:
        self.house.hub.stopService()
        self.clock.pump([1.0] * 3)
        self.assertFalse(self.wire.aborted)
        self.clock.advance(1.0)
        self.assertTrue(self.wire.aborted)

    def test_a_held_peer_can_answer_the_close(self) -> None:
        self.house.authenticator.slow = True
        self.say(AUTH + ASK * 70)
        self.assertFalse(self.wire.reading)
        self.house.hub.stopService()
        self.assertTrue(self.wire.reading)
        self.say(close(1001))
        self.assertTrue(self.wire.disconnecting)

    def test_nonsense_instead_of_an_answer_to_the_close(self) -> None:
        self.house.hub.stopService()
        self.wire.take()
        self.assertEqual(self.say(frame(3) + frame(3)), [])
        self.assertTrue(self.wire.disconnecting)

    def test_an_unauthenticated_peer_is_sent_away(self) -> None:
        """The predecessor's fault: nothing had to authenticate in any time; bytes alone do not help.

        docs/predecessor-faults.md#fault-7
        """
        for _ in range(10):
            self.assertEqual(self.say(frame(PONG)), [])
            self.clock.advance(1.0)
        self.assertEqual(spoken(self.wire.take()), [("close", 4408, "Not authenticated in time")])

    def test_a_token_ends(self) -> None:
        """The predecessor's fault: connections outlived expiry; nothing could be revoked.

        docs/predecessor-faults.md#fault-15
        """
        for why, message in [
            (CloseReason.TOKEN_EXPIRED, "Token has expired"),
            (CloseReason.REVOKED, "Token revoked"),
        ]:
            self.setUp()
            self.say(AUTH)
            assert self.protocol.connection is not None
            self.protocol.connection.close(why)
            self.assertEqual(spoken(self.wire.take()), [("close", 4401, message)])

    def test_a_quiet_peer_is_asked_and_then_dropped(self) -> None:
        """The predecessor's fault: dead WebSocket peers were never dropped.

        docs/predecessor-faults.md#fault-7
        """
        self.house.authenticator.expires_at = 10_000.0
        self.say(AUTH)
        self.clock.pump([1.0] * 30)
        self.assertEqual(spoken(self.wire.take()), ["ping "])
        self.say(frame(PONG))
        self.clock.pump([1.0] * 239)
        self.assertNotIn(("close", 1001), [m[:2] for m in spoken(self.wire.take())])
        self.clock.advance(1.0)
        self.assertEqual(spoken(self.wire.take())[-1], ("close", 1001, "Nothing heard for too long"))

    def test_a_slow_reader_is_told_where_to_resume(self) -> None:
        """The predecessor's fault: no backpressure (docs/predecessor-faults.md#fault-5)."""
        self.house.dispatcher.cursor = "c7"
        self.say(AUTH, subscribe("t"), subscribe("users"))
        self.wire.producer.pauseProducing()
        for n in range(4):
            self.assertEqual(self.say(text(type="message", topic="t", data=n))[:-1], [])
        self.assertEqual(self.say(ASK), [])
        self.assertTrue(self.protocol.connection and self.protocol.connection.farewell)

    def test_the_slow_close_carries_the_cursor(self) -> None:
        self.house.dispatcher.cursor = "c7"
        self.say(AUTH, subscribe("users"))
        assert self.protocol.connection is not None
        self.protocol.connection.close(CloseReason.SLOW_CONSUMER)
        self.assertEqual(
            spoken(self.wire.take()), [("close", 1013, "Reads more slowly than it subscribed; after=c7")]
        )

    def test_what_waited_is_written_when_the_transport_takes_it(self) -> None:
        self.wire.producer.pauseProducing()
        self.assertEqual(self.say(ASK), [])
        self.wire.producer.resumeProducing()
        self.assertEqual(spoken(self.wire.take()), [ANSWER])

    def test_pings_to_a_clogged_transport_are_answered_once(self) -> None:
        """Else a peer that pings and never reads fills our memory with pongs."""
        self.wire.producer.pauseProducing()
        self.assertEqual(self.say(frame(PING, b"1") + frame(PING, b"2")), [])
        self.wire.producer.resumeProducing()
        self.assertEqual(spoken(self.wire.take()), ["pong 2"])

    def test_a_waiting_ping_of_the_session_has_its_size(self) -> None:
        self.house.authenticator.expires_at = 10_000.0
        self.say(AUTH)
        self.wire.producer.pauseProducing()
        self.clock.pump([1.0] * 30)
        self.assertEqual(spoken(self.wire.take()), [])
        self.wire.producer.resumeProducing()
        self.assertEqual(spoken(self.wire.take()), ["ping "])
        self.wire.producer.stopProducing()

    def test_a_lost_connection_leaves_nothing_behind(self) -> None:
        """The predecessor's fault: subscriptions of gone WebSockets stayed for ever.

        docs/predecessor-faults.md#fault-4
        """
        self.say(AUTH, subscribe("a.**"))
        self.protocol.connectionLost()
        self.assertEqual(len(self.house.hub), 0)
        self.assertEqual(self.house.dispatcher._tree.match("a.b"), [])

    def test_a_bug_closes_with_1011(self) -> None:
        assert self.protocol.connection is not None
        self.protocol.connection.close(CloseReason.INTERNAL_ERROR)
        self.assertEqual(spoken(self.wire.take()), [("close", 1011, "Internal server error")])


class CapacityTests(WebSocketCase):
    def test_the_per_address_limit_and_one_past_it(self) -> None:
        """The predecessor's fault: the WebSocket per-address limit was configured but never read.

        docs/predecessor-faults.md#fault-6
        """
        line = self.house.admission("websocket", max_connections_per_network=2)
        first, _ = self.connect(line)
        _, second = self.connect(line)
        self.assertEqual(second.take(), b"")
        third, wire = self.connect(line)
        self.assertEqual(spoken(wire.take()), [("close", 1008, "More than 2 connections from one address")])
        self.assertTrue(wire.disconnecting)
        third.dataReceived(ASK)
        third.connectionLost()
        self.assertEqual(wire.take(), b"")
        first.connectionLost()
        _, fourth = self.connect(line)
        self.assertFalse(fourth.disconnecting)

    def test_nobody_is_admitted_while_shutting_down(self) -> None:
        self.house.hub.stopService()
        _, wire = self.connect()
        self.assertEqual(spoken(wire.take()), [("close", 1001, "server is shutting down")])


class EchoTests(WebSocketCase):
    kind = WebSocketEchoProtocol
    max_message = 1000

    def test_text_and_binary_come_back(self) -> None:
        self.assertEqual(
            [(f.opcode, f.payload) for f in self.echo(frame(TEXT, "\u00e9".encode()))], [(1, b"\xc3\xa9")]
        )
        self.assertEqual([(f.opcode, f.payload) for f in self.echo(frame(BINARY, b"\xff"))], [(2, b"\xff")])
        self.assertEqual([(f.opcode, f.payload) for f in self.echo(frame(BINARY))], [(2, b"")])
        self.assertEqual([f.opcode for f in self.echo(frame(BINARY, b"x" * 1001))], [CLOSE])

    def echo(self, data: bytes) -> list[Any]:
        self.protocol.dataReceived(data)
        return frames(self.wire.take())

    def test_it_needs_no_token(self) -> None:
        self.clock.pump([1.0] * 20)
        self.assertEqual([f.payload for f in self.echo(frame(TEXT, b"x"))], [b"x"])

    def test_who_does_not_read_is_not_read(self) -> None:
        self.wire.producer.pauseProducing()
        self.assertFalse(self.wire.reading)
        self.assertEqual(self.echo(frame(TEXT, b"x")), [])
        self.wire.producer.resumeProducing()
        self.assertEqual([f.payload for f in frames(self.wire.take())], [b"x"])

    def test_nothing_is_echoed_after_the_end(self) -> None:
        self.house.hub.stopService()
        self.assertEqual([f.opcode for f in frames(self.wire.take())], [CLOSE])
        self.assertEqual(self.echo(frame(TEXT, b"x")), [])
