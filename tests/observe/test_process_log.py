"""The log of a process: what it writes about itself, and what else goes to its standard output."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from prometheus_client import generate_latest
from twisted.internet.testing import MemoryReactor
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe.log_sinks import StreamSink
from multiproto.observe.log_writer import MAX_QUEUED_BYTES
from multiproto.observe.metrics import Metrics
from multiproto.observe.process_log import ProcessLog, make_line_log

DROPPED = "log_lines_dropped_total"


class ProcessLogCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.addCleanup(os.close, self.descriptor)

    def make(self, level: str = "info", **options: Any) -> ProcessLog:
        return make_line_log(StreamSink(self.descriptor), level, False, **options)

    def lines(self, process_log: ProcessLog) -> list[str]:
        process_log.finish()
        with open(self.path) as written:
            return written.read().splitlines()


class LossTests(ProcessLogCase):
    def test_lost_lines_are_reported_in_the_form_of_the_log(self) -> None:
        """At every level, for it is about the log; and counted in the metrics."""
        process_log, metrics = self.make("critical", worker=1), Metrics()
        metrics.add_process_log(process_log.writer)
        self.assertIn(f"{DROPPED} 0.0", generate_latest(metrics.registry).decode())
        for _ in range(3):
            process_log.writer.write("x" * MAX_QUEUED_BYTES + "\n")
        self.assertIn(f"{DROPPED} 3.0", generate_latest(metrics.registry).decode())
        (line,) = map(json.loads, self.lines(process_log))
        self.assertEqual(
            (line["level"], line["logger"], line["message"], line["worker"]),
            ("warn", "multiproto.log", "3 lines were dropped from this log: its reader was too slow", 1),
        )

    def test_any_text_may_be_in_such_a_line(self) -> None:
        notice = self.make().writer._format_notice("no file {x}\n")
        self.assertEqual(json.loads(notice)["message"], "no file {x}\n")

    def test_a_line_that_is_no_unicode(self) -> None:
        process_log = make_line_log(StreamSink(self.descriptor), "info", True)
        Logger("multiproto.x", observer=process_log.observer).info("a {file}", file="\udc80")
        self.assertTrue(self.lines(process_log)[0].endswith(" a \\udc80"))


class StdoutTests(ProcessLogCase):
    def test_after_the_lines_of_the_log(self) -> None:
        process_log = self.make()
        Logger("multiproto.x", observer=process_log.observer).info("ready")
        process_log.print_to_stdout("the banner\nhas lines")
        first, *rest = self.lines(process_log)
        self.assertEqual((json.loads(first)["message"], rest), ("ready", ["the banner", "has lines"]))


class SignalTests(ProcessLogCase):
    def handlers_after_start(self, has_file: bool) -> list[bool]:
        """For SIGUSR1 and SIGHUP, whether the log heeds the signal."""
        numbers = (signal.SIGUSR1, signal.SIGHUP)
        before = [signal.getsignal(number) for number in numbers]
        try:
            self.make(has_file=has_file).start(MemoryReactor())  # type: ignore[arg-type]
            return [signal.getsignal(number) != handler for number, handler in zip(numbers, before)]
        finally:
            for number, handler in zip(numbers, before):
                signal.signal(number, handler)

    def test_which_signals_are_heeded(self) -> None:
        """SIGHUP ends what has no file: a terminal sends it when it closes."""
        self.assertEqual(self.handlers_after_start(has_file=True), [True, True])
        self.assertEqual(self.handlers_after_start(has_file=False), [True, False])
