"""What a line of the log looks like, for machines and for people."""

from __future__ import annotations

import json
from contextvars import copy_context
from typing import Any

from twisted.logger import Logger, LogLevel, globalLogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe.logs import ACCESS_FORMAT, CURRENT_REQUEST_ID, format_json, make_observer

NOON = 43200.5  # seconds since the epoch


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class LogCase(SynchronousTestCase):
    pretty = False

    def setUp(self) -> None:
        self.written: list[str] = []

    def log(self, level: str = "info", namespace: str = "multiproto.tcp") -> Logger:
        lines = make_observer(level, self.pretty, self.written.append)
        return Logger(namespace, observer=lambda event: lines({**event, "log_time": NOON}))

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.written]


class JsonTests(LogCase):
    def test_one_object_a_line(self) -> None:
        self.log().info(
            "listening on {address}",
            address=":3001",
            connection="c1",
            count=2,
            ratio=float("nan"),
            log_time=0.5,
        )
        self.assertEqual(
            self.lines,
            [
                {
                    "time": "1970-01-01T12:00:00.500Z",
                    "level": "info",
                    "logger": "multiproto.tcp",
                    "message": "listening on :3001",
                    "address": ":3001",
                    "connection": "c1",
                    "count": 2,
                    "ratio": "nan",
                }
            ],
        )

    def test_a_failure_is_one_line(self) -> None:
        try:
            raise KeyError("inside")
        except KeyError:
            self.log().failure("it broke", connection="c1")
        (line,) = self.lines
        self.assertEqual((line["level"], line["message"]), ("critical", "it broke"))
        self.assertIn("raise KeyError", line["failure"])
        self.assertEqual(self.written[0].count("\n"), 1)

    def test_no_line_can_be_forged(self) -> None:
        self.log().info("hello {name}", name='ann\n{"level":"critical"}\x1b[2J\u2028')
        (written,) = self.written
        self.assertEqual(written.count("\n"), 1)
        self.assertTrue(written.isascii() and "\x1b" not in written)

    def test_secrets_are_not_written(self) -> None:
        """The predecessor's fault: passwords and tokens in error logs.

        docs/predecessor-faults.md#fault-14
        """
        self.log().info("login", password="hunter2", accessToken="ey", Authorization="Bearer x", user="ann")
        (line,) = self.lines
        self.assertNotIn("hunter2", self.written[0])
        shown = {name: line[name] for name in ("password", "accessToken", "Authorization", "user")}
        secret = "[secret]"
        self.assertEqual(
            shown, {"password": secret, "accessToken": secret, "Authorization": secret, "user": "ann"}
        )

    def test_what_has_no_text(self) -> None:
        self.log().info("odd", thing=Unspeakable(), items=[1])
        self.assertEqual(self.lines[0]["thing"], "<Unspeakable that has no text>")
        self.assertEqual(self.lines[0]["items"], "[1]")

    def test_the_request_that_caused_it(self) -> None:
        """Its correlation id is on every line that is written while it is answered."""

        def answering() -> None:
            CURRENT_REQUEST_ID.set("r-1")
            self.log().info("asked")
            self.log().info("another", request="r-2")

        copy_context().run(answering)
        self.log().info("later")
        self.assertEqual([line.get("request") for line in self.lines], ["r-1", "r-2", None])

    def test_requests_have_lines_like_all_others(self) -> None:
        """They have a way of their own, which must not be seen."""
        said = {
            "method": "GET",
            "route": '/a/:b"\\',
            "status": 200,
            "milliseconds": 0.1,
            "size": 12,
            "client": "::1",
            "request": 'r"\\1',
        }
        for fields in ({}, {"worker": 0}, {"worker": 3}):
            event = {
                "log_level": LogLevel.info,
                "log_namespace": "multiproto.http",
                "log_time": NOON,
                **fields,
            }
            ours = format_json({**event, "log_format": ACCESS_FORMAT, **said})
            self.assertEqual(ours, format_json({**event, "log_format": "".join(list(ACCESS_FORMAT)), **said}))

    def test_levels(self) -> None:
        log = self.log("warn")
        for say in (log.debug, log.info, log.warn, log.error, log.critical):
            say("x")
        self.assertEqual([line["level"] for line in self.lines], ["warn", "error", "critical"])

    def test_news_of_libraries_are_for_debugging(self) -> None:
        self.log(namespace="twisted.application.app.AppLogger").info("starting up")
        self.log(namespace="multiproto.http.site.Site").info("Starting factory {factory!r}", factory=1)
        self.assertEqual(self.lines, [])
        self.log("debug", namespace="twisted.application.app.AppLogger").info("starting up")
        self.log(namespace="twisted.internet").warn("something is wrong")
        self.assertEqual([line["level"] for line in self.lines], ["debug", "warn"])

    def test_twisteds_older_logging(self) -> None:
        lines = make_observer("debug", False, self.written.append)
        globalLogPublisher.addObserver(lines)
        self.addCleanup(globalLogPublisher.removeObserver, lines)
        legacy.msg("hello", system="HTTPChannel")
        (line,) = self.lines
        self.assertEqual(
            (line["level"], line["message"], sorted(line)),
            ("debug", "hello", ["level", "logger", "message", "time"]),
        )


class WorkerTests(LogCase):
    def said(self, pretty: bool) -> str:
        lines = make_observer("info", pretty, self.written.append, worker=1)
        Logger("multiproto", observer=lambda event: lines({**event, "log_time": NOON})).info("ready")
        return self.written.pop()

    def test_which_of_several_processes_says_it(self) -> None:
        self.assertEqual(json.loads(self.said(pretty=False))["worker"], 1)
        self.assertEqual(self.said(pretty=True), "12:00:00.500 info  ready worker=1\n")


class TextTests(LogCase):
    pretty = True

    def test_a_line_for_people(self) -> None:
        self.log().info("{what} came", what="ann", connection="c1", request="r1", count=3)
        self.assertEqual(self.written, ["12:00:00.500 info  ann came connection=c1 request=r1\n"])

    def test_control_characters_are_shown(self) -> None:
        self.log().warn("hello {name}", name="ann\r\n\x1b[31mred\x9b\u202e")
        self.assertEqual(self.written, ["12:00:00.500 warn  hello ann\\r\\n\\x1b[31mred\\x9b\\u202e\n"])

    def test_a_traceback_stands_below(self) -> None:
        self.log().failure("it broke", failure=Failure(KeyError("in\x1bside")))
        first, *trace = self.written[0].splitlines()
        self.assertEqual(first, "12:00:00.500 critical it broke")
        self.assertTrue(all(line.startswith("    ") for line in trace))
        self.assertNotIn("\x1b", self.written[0])
