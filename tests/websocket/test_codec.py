"""Every message of docs/websocket.md, and text that is none."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core import protocol
from multiproto.core.errors import (
    FieldError,
    Forbidden,
    InternalError,
    InvalidInput,
    NotFound,
    RateLimited,
    Refusal,
    TooManyConnections,
    Unauthorized,
    Unavailable,
    UnknownMessageType,
    ValidationError,
)
from multiproto.websocket import codec

from ..rfc6455.wire import frames

NOW = 1_700_000_000.5
WHEN = "2023-11-14T22:13:20.500Z"

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
# Near misses: the right names with any values.
fields = st.dictionaries(
    st.sampled_from(["token", "topic", "data", "id", "key", "after", "metadata", "type", "x"]), values
)
kinds = st.sampled_from(["auth", "subscribe", "unsubscribe", "message", "ping"])


def decode(**fields: Any) -> protocol.Command:
    return codec.decode(json.dumps(fields).encode())


def said(reply: protocol.Reply, now: float = NOW) -> Any:
    [found] = frames(codec.encode(reply, now))
    return json.loads(found.payload)


def faults(*found: tuple[str, str]) -> ValidationError:
    return ValidationError([FieldError((field,), message) for field, message in found])


class DecodeTests(SynchronousTestCase):
    def test_commands(self) -> None:
        for fields, command in [
            ({"type": "auth", "token": "t"}, protocol.Authenticate("t")),
            ({"type": "auth", "token": "t", "id": 1}, protocol.Authenticate("t", 1)),
            ({"type": "subscribe", "topic": "a.*"}, protocol.Subscribe("a.*", repeatable=True)),
            (
                {"type": "subscribe", "topic": "a", "after": "c", "id": "x"},
                protocol.Subscribe("a", "c", "x", repeatable=True),
            ),
            ({"type": "unsubscribe", "topic": "a", "id": 2}, protocol.Unsubscribe("a", 2)),
            ({"type": "message", "topic": "a", "data": None}, protocol.Publish("a", None)),
            (
                {"type": "message", "topic": "a", "data": 1, "idempotencyKey": "k", "unknown": 1},
                protocol.Publish("a", 1, None, "k"),
            ),
            ({"type": "ping", "to": 1, "a": 2}, protocol.Ping()),
            (
                {"type": "message", "topic": "a", "data": [0], "id": 1.5, "key": "k", "metadata": {"m": 1}},
                protocol.Publish("a", [0], {"m": 1}, "k", 1.5),
            ),
            ({"type": "ping"}, protocol.Ping()),
            ({"type": "ping", "id": "p"}, protocol.Ping("p")),
        ]:
            self.assertEqual(decode(**fields), command)

    def test_what_is_no_json_object(self) -> None:
        for text, why in [
            (b"", "Malformed message: not JSON in UTF-8: it is empty"),
            (b"{", "Malformed message: not JSON in UTF-8: it ends too early"),
            (b'{"token": "\xff"}', "Malformed message: not JSON in UTF-8, at byte 11"),
            (b'{"token": "\\ud800"}', "Malformed message: not JSON in UTF-8"),
            (b'{"token": Infinity}', "Malformed message: not JSON in UTF-8, at byte 10"),
            (b'{"id": 1, "id": 2}', "Malformed message: a key comes twice with different values"),
            (b'{"id": 1e999}', "Malformed message: a number is out of range"),
            (b"[" * 100 + b"]" * 100, "Malformed message: nested deeper than 64 levels"),
            (b"[]", "Message is not a JSON object"),
            (b'"auth"', "Message is not a JSON object"),
        ]:
            self.assertEqual(codec.decode(text), protocol.BadCommand(InvalidInput(why)))

    def test_an_unknown_type_keeps_its_id(self) -> None:
        for kind, meant in (
            ("publish", "message"),
            ("Send", "message"),
            ("authenticate", "auth"),
            ("Ping", "ping"),
            ("subscribed", "subscribe"),
            ("pong", "ping"),
            ("connection_init", None),
            ("hello", None),
            ("", None),
            ("ping" * 1000, None),
        ):
            why = "Unknown message type" + (f": did you mean {meant}?" if meant else "")
            self.assertEqual(decode(type=kind, id=4), protocol.BadCommand(UnknownMessageType(why), 4))

    def test_a_message_without_a_type_is_told_what_it_lacks(self) -> None:
        """And which unknown field may be meant by it; fields of any command are none of those."""
        required, text = ("type", "Required"), ("type", "Must be a string")
        meant = "Unknown field: did you mean type?"
        for fields, errors in (
            ({"typ": "ping"}, (required, ("typ", meant))),
            ({"Type": "ping", "topic": "a"}, (required, ("Type", meant))),
            ({"cmd": "subscribe", "topic": "a", "after": "x"}, (required, ("cmd", meant))),
            ({"topic": "a", "data": 1, "metadata": {}, "key": "k", "token": "t"}, (required,)),
            ({}, (required,)),
            ({"type": None, "typ": "ping"}, (text, ("typ", meant))),
            ({"type": 1}, (text,)),
            ({"type": []}, (text,)),
        ):
            refusal = UnknownMessageType("A message needs a type", details=faults(*errors).details)
            self.assertEqual(decode(**fields, id=4), protocol.BadCommand(refusal, 4), fields)

    def test_all_faults_of_a_message_are_told(self) -> None:
        self.assertEqual(
            decode(type="message", topic=1, metadata=[], key=True, id={}),
            protocol.BadCommand(
                faults(
                    ("id", "Must be a number or a string of at most 255 characters"),
                    ("topic", "Must be a string"),
                    ("data", "Required"),
                    ("metadata", "Must be an object"),
                    ("key", "Must be a string"),
                )
            ),
        )

    def test_misspelt_fields(self) -> None:
        """What was meant for another field is not published as null, and no key or cursor is lost."""
        for sent, found in [
            ({"type": "message", "topic": "a"}, [("data", "Required")]),
            (
                {"type": "message", "topic": "a", "content": 5},
                [("data", "Required"), ("content", "Unknown field: did you mean data?")],
            ),
            (
                {"type": "message", "topic": "a", "data": 5, "idempotencykey": "k"},
                [("idempotencykey", "Unknown field: did you mean idempotencyKey?")],
            ),
            (
                {"type": "subscribe", "topic": "a", "After": "c"},
                [("After", "Unknown field: did you mean after?")],
            ),
            (
                {"type": "unsubscribe", "topics": ["a"]},
                [("topic", "Required"), ("topics", "Unknown field: did you mean topic?")],
            ),
        ]:
            self.assertEqual(decode(**sent), protocol.BadCommand(faults(*found)))

    def test_auth_without_a_good_token_is_refused_as_auth(self) -> None:
        for sent, (field, why) in [
            ({}, ("token", "Required")),
            ({"token": 5}, ("token", "Must be a string")),
            ({"token": None}, ("token", "Required")),
        ]:
            details = {"errors": [{"path": [field], "message": why}]}
            refusal = Unauthorized("Invalid token", details=details)
            command = decode(type="auth", id=1, **sent)
            self.assertEqual(command, protocol.BadCommand(refusal, 1, protocol.Authenticate))
            self.assertEqual(
                said(protocol.ErrorReply(refusal, protocol.Authenticate, 1)),
                {
                    "type": "auth_error",
                    "code": 401,
                    "name": "UNAUTHORIZED",
                    "message": "Invalid token",
                    "details": details,
                    "timestamp": WHEN,
                    "id": 1,
                },
            )

    def test_an_id_at_its_limit_and_one_past_it(self) -> None:
        self.assertEqual(decode(type="ping", id="x" * 255), protocol.Ping("x" * 255))
        self.assertEqual(
            decode(type="ping", id="x" * 256),
            protocol.BadCommand(faults(("id", "Must be a number or a string of at most 255 characters"))),
        )

    @given(st.binary() | st.text().map(str.encode))
    @example(b'{"a":' * 100_000)
    @example(b'{"type": "ping", "id": ' + b"9" * 5000 + b"}")
    def test_total_over_any_bytes(self, text: bytes) -> None:
        self.assertIsInstance(codec.decode(text), protocol.Command)

    @given(kinds, fields)
    def test_total_over_near_misses(self, kind: str, fields: dict[str, Any]) -> None:
        command = decode(**{"type": kind} | fields)
        if isinstance(command, protocol.BadCommand):
            # Whatever was read can be answered.
            answer = said(protocol.ErrorReply(command.refusal, None, command.ref))
            self.assertEqual(answer.get("id"), command.ref)

    @given(st.text(min_size=1), values, st.text(max_size=255) | st.integers())
    @settings(max_examples=50)
    def test_what_is_published_is_what_is_delivered(self, topic: str, data: Any, id: Any) -> None:
        command = decode(type="message", topic=topic, data=data, id=id)
        assert isinstance(command, protocol.Publish)
        delivered = said(protocol.Delivery(command.topic, command.content, {}, 0.0))
        self.assertEqual((delivered["topic"], delivered["data"]), (topic, data))
        self.assertEqual(said(protocol.Accepted(command.ref))["id"], id)


class EncodeTests(SynchronousTestCase):
    def test_replies(self) -> None:
        for reply, fields in [
            (
                protocol.Authenticated("u", "c", 1),
                {"type": "auth_success", "userId": "u", "connectionId": "c", "id": 1},
            ),
            (protocol.TokenExpiring(NOW + 60), {"type": "expiring", "expiresAt": "2023-11-14T22:14:20.500Z"}),
            (
                protocol.Subscribed("a", "s", "live"),
                {"type": "subscribed", "topic": "a", "retention": "live"},
            ),
            (
                protocol.Subscribed("a", "s", "log", "c", True, "x"),
                {
                    "type": "subscribed",
                    "topic": "a",
                    "retention": "log",
                    "cursor": "c",
                    "recovered": True,
                    "id": "x",
                },
            ),
            (protocol.Unsubscribed("a", True), {"type": "unsubscribed", "topic": "a"}),
            (protocol.Unsubscribed("a", False, 2), {"type": "unsubscribed", "topic": "a", "id": 2}),
            (protocol.Accepted(1), {"type": "ack", "id": 1}),
            (protocol.Accepted("x", "c"), {"type": "ack", "id": "x", "cursor": "c"}),
            (protocol.Pong("p"), {"type": "pong", "id": "p"}),
        ]:
            self.assertEqual(said(reply), fields | {"timestamp": WHEN})  # type: ignore[arg-type]

    def test_a_refused_token_is_an_auth_error(self) -> None:
        for refusal, code in [(Unauthorized("no"), 401), (Unavailable("no"), 503)]:
            self.assertEqual(
                said(protocol.ErrorReply(refusal, protocol.Authenticate, 1)),
                {
                    "type": "auth_error",
                    "code": code,
                    "name": refusal.name,
                    "message": "no",
                    "id": 1,
                    "timestamp": WHEN,
                },
            )

    def test_the_code_of_an_error_is_the_http_status_but_for_three(self) -> None:
        for refusal, code in [
            (InternalError(), 1),
            (InvalidInput("no"), 2),
            (UnknownMessageType("no"), 3),
            (Unauthorized("no"), 401),
            (Forbidden("no"), 403),
            (RateLimited("no"), 429),
            (TooManyConnections("no"), 503),
        ]:
            answer = said(protocol.ErrorReply(refusal, protocol.Subscribe))
            self.assertEqual((answer["type"], answer["code"], answer["name"]), ("error", code, refusal.name))

    def test_an_error_tells_its_details_and_id(self) -> None:
        self.assertEqual(
            said(protocol.ErrorReply(NotFound.of("User", "u"), protocol.Publish, 7)),
            {
                "type": "error",
                "code": 404,
                "name": "NOT_FOUND",
                "message": "User not found",
                "details": {"resource": "User", "id": "u"},
                "id": 7,
                "timestamp": WHEN,
            },
        )

    def test_a_delivery(self) -> None:
        self.assertEqual(
            said(protocol.Delivery("a.b", None, {"m": 1}, NOW), 0.0),
            {"type": "message", "topic": "a.b", "data": None, "metadata": {"m": 1}, "timestamp": WHEN},
        )
        self.assertEqual(
            said(protocol.Delivery("a.b", 1, {}, NOW, "u", "d", "c"), 0.0),
            {
                "type": "message",
                "topic": "a.b",
                "data": 1,
                "metadata": {},
                "timestamp": WHEN,
                "id": "d",
                "cursor": "c",
            },
        )

    def test_a_delivery_is_encoded_once_for_all(self) -> None:
        delivery = protocol.Delivery("a", "x" * 10, {}, NOW)
        self.assertIs(codec.encode(delivery, 0.0), codec.encode(delivery, 1.0))

    def test_the_largest_publication_fits_a_message(self) -> None:
        delivery = protocol.Delivery(
            "a" * 255, "x" * 999_998, {"m": "y" * 9_990}, NOW, "u" * 36, "d" * 36, "c" * 100
        )
        self.assertLess(len(codec.encode(delivery, NOW)), 2**20)

    def test_the_reason_of_a_close(self) -> None:
        self.assertEqual(
            codec.farewell_reason(protocol.Farewell(protocol.CloseReason.TOKEN_EXPIRED, "Token has expired")),
            "Token has expired",
        )
        slow = protocol.Farewell(protocol.CloseReason.SLOW_CONSUMER, "Too slow", "c" * 20)
        self.assertEqual(codec.farewell_reason(slow), "Too slow; after=" + "c" * 20)
        long = codec.farewell_reason(
            protocol.Farewell(protocol.CloseReason.SLOW_CONSUMER, "Too slow" * 9, "c" * 100)
        )
        self.assertEqual((len(long), long[-106:]), (123, "after=" + "c" * 100))

    def test_every_ending_of_ours_has_a_close_code(self) -> None:
        theirs = {protocol.CloseReason.CLIENT_CLOSED, protocol.CloseReason.PROTOCOL_ERROR}
        self.assertEqual(set(codec.CLOSE_CODES), set(protocol.CloseReason) - theirs)

    def test_what_is_no_reply_is_a_bug(self) -> None:
        with self.assertRaises(AssertionError):
            codec.encode(protocol.BadCommand(Refusal("no")), NOW)  # type: ignore[arg-type]
