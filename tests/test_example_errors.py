"""What the examples say of an error, on each protocol: all that the server said."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr
from email.message import Message
from pathlib import Path
from typing import Any, Callable
from urllib.error import HTTPError

from twisted.trial.unittest import SynchronousTestCase

from examples import cursors, device, events, graphql_subscriber
from examples.cursors import describe_subscribed
from examples.graphql_subscriber import refused
from examples.login import describe, options, reason
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


class ArgumentTests(SynchronousTestCase):
    """What can't be meant is said before anything is asked of a server."""

    def said(self, main: Callable[[], object], *arguments: str) -> str:
        self.patch(sys, "argv", ["example", *arguments])
        with redirect_stderr(io.StringIO()) as errors:
            ended = self.assertRaises(SystemExit, main)
        self.assertEqual(ended.code, 2, errors.getvalue())
        return errors.getvalue().splitlines()[-1].partition("error: ")[2]

    def test_addresses(self) -> None:
        for url in ("127.0.0.1:3730", "ftp://h", "http://", "http://h/api", "http://h?x", "http://h h"):
            self.assertEqual(
                self.said(device.main, "--url", url),
                f"argument --url: must be such as http://127.0.0.1:3000, not {url!r}",
            )
        self.assertEqual(options(None).parse_args(["--url", "https://h:1/"]).url, "https://h:1")
        for port in ("127.0.0.1", ":3001", "h:x", "h:0", "h:65536"):
            self.assertEqual(
                self.said(device.main, "--tcp", port),
                f"argument --tcp: must be such as 127.0.0.1:3001, not {port!r}",
            )

    def test_how_often(self) -> None:
        for every in ("0", "-1", "inf", "nan", "x"):
            self.assertEqual(
                self.said(device.main, f"--every={every}"),
                f"argument --every: must be a number of seconds above 0, not {every!r}",
            )

    def test_an_operation_that_never_has_results(self) -> None:
        why = "the operation is no subscription { … }, which alone has results as they come"
        self.assertEqual(self.said(graphql_subscriber.main, "{ me { id } }"), why)

    def test_where_a_cursor_is_kept(self) -> None:
        folder = self.mktemp()
        self.assertEqual(
            self.said(events.main, "--cursor", f"{folder}/a", "topic"),
            f"argument --cursor: {folder}/a can't be made: is {folder} there, and yours to write?",
        )
        Path(folder).mkdir()
        self.assertEqual(
            self.said(events.main, "--cursor", folder, "topic"),
            f"argument --cursor: {folder} is a directory",
        )
        self.assertEqual(
            self.said(cursors.main, folder), f"{folder} is no file: an example writes one with --cursor FILE"
        )
