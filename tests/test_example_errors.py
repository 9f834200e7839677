"""What the examples say of an error, on each protocol: all that the server said."""

from __future__ import annotations

import io
import json
from email.message import Message
from typing import Any
from urllib.error import HTTPError

from twisted.trial.unittest import SynchronousTestCase

from examples.cursors import describe_subscribed
from examples.graphql_subscriber import refused
from examples.login import describe, reason
from multiproto.core.errors import FieldError, Forbidden, NotFound, Refusal, ValidationError
from multiproto.core.protocol import ErrorReply
from multiproto.graphql.execution.errors import format_refusal
from multiproto.http.envelope import error_body
from multiproto.tcp import codec as tcp
from multiproto.websocket import codec as websocket

INVALID = ValidationError([FieldError(("topic",), "No topic"), FieldError(("metadata", "a"), "Too long")])
WHICH_FIELDS = "Validation failed (topic: No topic; metadata.a: Too long)"


def http_error(body: bytes) -> HTTPError:
    return HTTPError("http://127.0.0.1/", 400, "", Message(), io.BytesIO(body))


class ErrorTests(SynchronousTestCase):
    def check(self, refusal: Refusal, said: str) -> None:
        frame: Any = json.loads(self.websocket_message(refusal))
        self.assertEqual(describe(frame), said)
        self.assertEqual(describe(json.loads(tcp.encode(ErrorReply(refusal), 0.0)[5:])), said)
        self.assertEqual(str(refused([format_refusal(refusal)])), said)
        self.assertEqual(reason(http_error(error_body(refusal, 0.0))), f"400: {said}")
        body = json.dumps({"errors": [format_refusal(refusal)] * 2}).encode()
        self.assertEqual(reason(http_error(body)), f"400: {said}; {said}")

    def websocket_message(self, refusal: Refusal) -> bytes:
        """The JSON in its frame."""
        frame = websocket.encode(ErrorReply(refusal), 0.0)
        return frame[frame.index(b"{") :]

    def test_which_fields_and_why(self) -> None:
        self.check(INVALID, WHICH_FIELDS)

    def test_what_is_not_there(self) -> None:
        self.check(NotFound.of("User", "u1"), "User not found (resource User; id u1)")

    def test_no_details(self) -> None:
        self.check(Forbidden("No"), "No")

    def test_another_server(self) -> None:
        """A proxy, say."""
        for body in (b"<h1>Bad Gateway", b"[]", b"{}", b'"x"', b'{"errors": 1}', b'{"error": "no"}'):
            self.assertEqual(reason(http_error(body)), f"400: {body.decode()}")

    def test_a_subscription_that_hears_nothing(self) -> None:
        self.assertEqual(
            describe_subscribed({"topic": "a", "recovered": True, "warning": "No event has it"}),
            "subscribed to a, resuming; No event has it",
        )
