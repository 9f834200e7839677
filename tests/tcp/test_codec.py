"""Every frame of docs/tcp.md, and bytes that are none."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core import protocol
from multiproto.core.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InternalError,
    InvalidFrame,
    Refusal,
    Unauthorized,
    UnknownMessageType,
    ValidationError,
)
from multiproto.tcp import codec

from .wire import frames

NOW = 1_700_000_000.5
WHEN = "2023-11-14T22:13:20.500Z"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
# Near misses: the right names with any values.
fields = st.dictionaries(
    st.sampled_from(["token", "topic", "content", "id", "key", "after", "metadata", "x"]), values
)
kinds = st.sampled_from([0x01, 0x10, 0x11, 0x20, 0x30, 0x31])


def decode(kind: int, **fields: Any) -> protocol.Command:
    return codec.decode(bytes([kind]) + json.dumps(fields).encode())


def faults(*found: tuple[str, str]) -> ValidationError:
    return ValidationError([FieldError((field,), message) for field, message in found])


NO_CONTENT = "content", "Required beside an unknown field; it may be null"


class DecodeTests(SynchronousTestCase):
    def test_commands(self) -> None:
        for kind, said, command in [
            (0x01, {"token": "t"}, protocol.Authenticate("t")),
            (0x01, {"token": "t", "id": 1}, protocol.Authenticate("t", 1)),
            (0x10, {"topic": "a.*"}, protocol.Subscribe("a.*")),
            (0x10, {"topic": "a", "after": "c", "id": "x"}, protocol.Subscribe("a", "c", "x")),
            (0x11, {"topic": "a"}, protocol.Unsubscribe("a")),
            (0x20, {"topic": "a"}, protocol.Publish("a", None)),
            (0x20, {"topic": "a", "content": [1]}, protocol.Publish("a", [1])),
            (
                0x20,
                {"topic": "a", "content": 0, "id": 1.5, "key": "k", "metadata": {"m": 1}},
                protocol.Publish("a", 0, {"m": 1}, "k", 1.5),
            ),
            (0x20, {"topic": "a", "idempotencyKey": "k"}, protocol.Publish("a", None, None, "k")),
            (0x20, {"topic": "a", "key": "k", "idempotencyKey": "k"}, protocol.Publish("a", None, None, "k")),
            (0x20, {"topic": "a", "content": None, "unknown": 1}, protocol.Publish("a", None)),
            (0x30, {"timestamp": 1}, protocol.Ping(payload={"timestamp": 1})),
            (0x31, {"timestamp": 1}, protocol.Pong()),
        ]:
            self.assertEqual(decode(kind, **said), command)

    def test_a_ping_may_hold_any_json_or_nothing(self) -> None:
        """The answer carries it back, and the server's time unless it has one."""
        for text, answer in (
            (b"", {"timestamp": 1500}),
            (b"1", {"timestamp": 1500, "payload": 1}),
            (b"[]", {"timestamp": 1500, "payload": []}),
            (b'"x"', {"timestamp": 1500, "payload": "x"}),
            (b"null", {"timestamp": 1500, "payload": None}),
            (b'{"id": []}', {"timestamp": 1500, "id": []}),
            (b'{"timestamp": 7}', {"timestamp": 7}),
        ):
            ping = codec.decode(b"\x30" + text)
            assert isinstance(ping, protocol.Ping)
            self.assertEqual(frames(codec.encode(protocol.Pong(None, ping.payload), 1.5)), [(0x31, answer)])
            self.assertEqual(codec.decode(b"\x31" + text), protocol.Pong())

    def test_a_pong_carries_back_16_KiB_and_nothing_of_more(self) -> None:
        for size, payload in ((16_384, "x" * 16_382), (16_385, {})):
            self.assertEqual(
                codec.decode(b'\x30"' + b"x" * (size - 2) + b'"'), protocol.Ping(payload=payload)
            )
        bad = codec.decode(b'\x30"' + b"x" * 16_384)
        assert isinstance(bad, protocol.BadCommand)
        self.assertIsInstance(bad.refusal, InvalidFrame)

    def test_misspelt_fields(self) -> None:
        """What was meant for another field is not published as null, and no key or cursor is lost."""
        for kind, said, found in [
            (0x20, {"topic": "a", "data": 5}, [NO_CONTENT, ("data", "Unknown field: did you mean content?")]),
            (
                0x20,
                {"topic": "a", "contnt": 5},
                [NO_CONTENT, ("contnt", "Unknown field: did you mean content?")],
            ),
            (0x20, {"topic": "a", "content": 5, "kye": "k"}, [("kye", "Unknown field: did you mean key?")]),
            (0x10, {"topic": "a", "aftr": "c"}, [("aftr", "Unknown field: did you mean after?")]),
            (
                0x10,
                {"pattern": "a"},
                [("topic", "Required"), ("pattern", "Unknown field: did you mean topic?")],
            ),
            (0x01, {"tokn": "a"}, [("token", "Required"), ("tokn", "Unknown field: did you mean token?")]),
        ]:
            meant = protocol.Authenticate if kind == 0x01 else None
            self.assertEqual(decode(kind, **said), protocol.BadCommand(faults(*found), meant=meant))

    def test_a_refused_auth_is_answered_as_one(self) -> None:
        """Whoever sent AUTH waits for AUTH_SUCCESS or AUTH_ERROR."""
        for payload, code in (
            (b'{"token":null}', "2"),
            (b"{}", "2"),
            (b"", "2"),
            (b'{"tokn":"a"}', "2"),
            (b'{"token":1}', "2"),
            (b'{"token":"a","id":[]}', "2"),
            (b"[]", "11"),
            (b'{"token":', "11"),
            (b"\xff", "11"),
        ):
            bad = codec.decode(b"\x01" + payload)
            assert isinstance(bad, protocol.BadCommand)
            reply = protocol.ErrorReply(bad.refusal, bad.meant or protocol.BadCommand, bad.ref)
            [(kind, said)] = frames(codec.encode(reply, NOW))
            self.assertEqual((kind, said["code"]), (0x03, code), payload)

    def test_a_key_is_refused_by_the_name_that_it_came_with(self) -> None:
        why = "Must have 1 to 128 printable characters"
        for name in ("key", "idempotencyKey"):
            for bad in ("", "k" * 129, "\n"):
                said = {"topic": "a", "content": 1, name: bad}
                self.assertEqual(decode(0x20, **said), protocol.BadCommand(faults((name, why))))
            good = decode(0x20, **{"topic": "a", "content": 1, name: "k" * 128})
            self.assertEqual(good, protocol.Publish("a", 1, None, "k" * 128))
        self.assertEqual(
            decode(0x20, topic="a", key="k", idempotencyKey="l"),
            protocol.BadCommand(faults(("idempotencyKey", "Must be the same as key"))),
        )

    def test_an_unknown_type_is_told_whatever_it_holds(self) -> None:
        for kind in set(range(256)) - {0x01, 0x10, 0x11, 0x20, 0x30, 0x31}:
            refusal = UnknownMessageType(f"Unknown message type 0x{kind:02X}")
            self.assertEqual(codec.decode(bytes([kind]) + b"\xff"), protocol.BadCommand(refusal))

    def test_what_is_no_json_object(self) -> None:
        for text, why in [
            (b"{", "not JSON in UTF-8: it ends too early"),
            (b'{"token": "\xff"}', "not JSON in UTF-8, at byte 11"),
            (b'{"token": "\\ud800"}', "not JSON in UTF-8"),
            (b'{"token": NaN}', "not JSON in UTF-8, at byte 10"),
            (b'{"token": "a", "token": "b"}', "a key comes twice with different values"),
            (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64 levels"),
            (b"[]", "not a JSON object"),
            (b"null", "not a JSON object"),
        ]:
            refusal = InvalidFrame(f"Invalid payload: {why}")
            self.assertEqual(codec.decode(b"\x10" + text), protocol.BadCommand(refusal))

    def test_all_faults_of_a_frame_are_told(self) -> None:
        self.assertEqual(
            decode(0x20, topic=1, metadata=[], key=True, id={}),
            protocol.BadCommand(
                faults(
                    ("id", "Must be a number or a string of at most 255 characters"),
                    ("topic", "Must be a string"),
                    ("metadata", "Must be an object"),
                    ("key", "Must be a string"),
                )
            ),
        )

    def test_a_refused_frame_keeps_its_id(self) -> None:
        self.assertEqual(decode(0x11, id=7), protocol.BadCommand(faults(("topic", "Required")), 7))

    def test_an_id_at_its_limit_and_one_past_it(self) -> None:
        self.assertEqual(decode(0x01, token="t", id="x" * 255), protocol.Authenticate("t", "x" * 255))
        self.assertEqual(
            decode(0x11, topic="t", id="x" * 256),
            protocol.BadCommand(faults(("id", "Must be a number or a string of at most 255 characters"))),
        )

    @given(st.binary(min_size=1))
    @example(b"\x20" + b"[" * 100_000)
    @example(b'\x20{"topic": "a", "id": ' + b"9" * 5000 + b"}")
    def test_total_over_any_bytes(self, body: bytes) -> None:
        self.assertIsInstance(codec.decode(body), protocol.Command)

    @given(kinds, fields)
    def test_total_over_near_misses(self, kind: int, fields: dict[str, Any]) -> None:
        command = decode(kind, **fields)
        if isinstance(command, protocol.BadCommand):
            self.assertIsInstance(command.refusal, (ValidationError, InvalidFrame))
            # Whatever was read can be answered.
            frames(codec.encode(protocol.ErrorReply(command.refusal, None, command.ref), NOW))

    @given(st.text(min_size=1), values, st.text(max_size=255) | st.integers())
    @settings(max_examples=50)
    def test_what_is_published_is_what_is_delivered(self, topic: str, content: Any, id: Any) -> None:
        command = decode(0x20, topic=topic, content=content, id=id)
        assert isinstance(command, protocol.Publish)
        delivery = protocol.Delivery(command.topic, command.content, {}, 0.0)
        [(kind, said)] = frames(codec.encode(delivery, NOW))
        self.assertEqual((kind, said["topic"], said["content"]), (0x21, topic, content))
        self.assertEqual(frames(codec.encode(protocol.Accepted(command.ref), NOW)), [(0x22, {"id": id})])


class EncodeTests(SynchronousTestCase):
    def test_replies(self) -> None:
        not_found = Forbidden("no", {"a": 1})
        for reply, kind, said in [
            (
                protocol.Authenticated("u", "c"),
                0x02,
                {"userId": "u", "message": "Authentication successful"},
            ),
            (
                protocol.Authenticated("u", "c", 1),
                0x02,
                {"userId": "u", "message": "Authentication successful", "id": 1},
            ),
            (protocol.TokenExpiring(NOW + 60), 0x04, {"expiresAt": "2023-11-14T22:14:20.500Z"}),
            (
                protocol.ErrorReply(Unauthorized("Invalid token"), protocol.Authenticate),
                0x03,
                {"error": "Invalid token", "code": "4"},
            ),
            (
                protocol.ErrorReply(Conflict("Another user"), protocol.Authenticate, "x"),
                0x03,
                {"error": "Another user", "code": "6", "id": "x"},
            ),
            (
                protocol.Subscribed("a", "s", "live"),
                0x12,
                {"topic": "a", "subscriptionId": "s", "retention": "live"},
            ),
            (
                protocol.Subscribed("a", "s", "log", "c", False, 1),
                0x12,
                {
                    "topic": "a",
                    "subscriptionId": "s",
                    "retention": "log",
                    "cursor": "c",
                    "recovered": False,
                    "id": 1,
                },
            ),
            (protocol.Unsubscribed("a", True), 0x13, {"topic": "a"}),
            (
                protocol.Unsubscribed("a", False, 5),
                0xFF,
                {
                    "error": "Subscription not found",
                    "code": "3",
                    "details": {"resource": "Subscription", "id": "a"},
                    "id": 5,
                },
            ),
            (protocol.Accepted(1), 0x22, {"id": 1}),
            (protocol.Accepted("x", "c"), 0x22, {"id": "x", "cursor": "c"}),
            (protocol.Ping(), 0x30, {"timestamp": 1_700_000_000_500}),
            (protocol.Pong(), 0x31, {"timestamp": 1_700_000_000_500}),
            (protocol.ErrorReply(InternalError()), 0xFF, {"error": "Internal server error", "code": "50"}),
            (
                protocol.ErrorReply(not_found, protocol.Subscribe, 2),
                0xFF,
                {"error": "no", "code": "5", "details": {"a": 1}, "id": 2},
            ),
        ]:
            self.assertEqual(frames(codec.encode(reply, NOW)), [(kind, said)])  # type: ignore[arg-type]

    def test_a_delivery_names_its_topic_and_time(self) -> None:
        """The predecessor's fault: deliveries had no timestamp and named the pattern, not the topic.

        docs/predecessor-faults.md#fault-22
        """
        bare = protocol.Delivery("a.b", None, {}, NOW)
        self.assertEqual(
            frames(codec.encode(bare, 0.0)),
            [(0x21, {"topic": "a.b", "content": None, "timestamp": WHEN})],
        )
        full = protocol.Delivery("a.b", {"x": 1}, {"m": 1}, NOW, "u", "d", "c")
        self.assertEqual(
            frames(codec.encode(full, 0.0)),
            [
                (
                    0x21,
                    {
                        "topic": "a.b",
                        "content": {"x": 1},
                        "timestamp": WHEN,
                        "userId": "u",
                        "id": "d",
                        "cursor": "c",
                        "metadata": {"m": 1},
                    },
                )
            ],
        )
        ((_, named),) = frames(codec.encode(bare.naming(("a.*", "a.b")), 0.0))
        self.assertEqual(named["patterns"], ["a.*", "a.b"])

    def test_a_delivery_is_encoded_once_for_all(self) -> None:
        delivery = protocol.Delivery("a", "x" * 10, {}, NOW)
        self.assertIs(codec.encode(delivery, 0.0), codec.encode(delivery, 1.0))

    def test_the_largest_publication_fits_a_frame(self) -> None:
        """The predecessor's fault: a delivery over the frame limit vanished.

        docs/predecessor-faults.md#fault-22
        """
        delivery = protocol.Delivery(
            "a" * 255, "x" * 999_998, {"m": "y" * 9_990}, NOW, "u" * 36, "d" * 36, "c" * 100
        )
        self.assertLess(len(codec.encode(delivery, NOW)), 2**20)

    def test_farewells(self) -> None:
        for why, code in [
            (protocol.CloseReason.SHUTDOWN, "55"),
            (protocol.CloseReason.TOKEN_EXPIRED, "4"),
            (protocol.CloseReason.REVOKED, "4"),
            (protocol.CloseReason.AUTH_TIMEOUT, "4"),
            (protocol.CloseReason.IDLE_TIMEOUT, "54"),
            (protocol.CloseReason.SLOW_CONSUMER, "55"),
            (protocol.CloseReason.INTERNAL_ERROR, "50"),
        ]:
            farewell = codec.encode_farewell(protocol.Farewell(why, "Bye"))
            self.assertEqual(frames(farewell), [(0xFF, {"error": "Bye", "code": code})])
        for why in (protocol.CloseReason.CLIENT_CLOSED, protocol.CloseReason.PROTOCOL_ERROR):
            self.assertEqual(codec.encode_farewell(protocol.Farewell(why, "Bye")), b"")

    def test_a_farewell_tells_where_to_resume(self) -> None:
        farewell = protocol.Farewell(protocol.CloseReason.SLOW_CONSUMER, "Too slow", "c7")
        self.assertEqual(
            frames(codec.encode_farewell(farewell)),
            [(0xFF, {"error": "Too slow", "code": "55", "details": {"cursor": "c7"}})],
        )

    def test_what_is_no_reply_is_a_bug(self) -> None:
        with self.assertRaises(AssertionError):
            codec.encode(protocol.BadCommand(Refusal("no")), NOW)  # type: ignore[arg-type]
