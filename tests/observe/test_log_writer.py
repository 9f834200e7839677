"""What the log's writer does with lines that its sink does not take; `live.test_process_log` has real sinks."""

from __future__ import annotations

import time
from threading import Event
from typing import Callable

from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe import log_writer
from multiproto.observe.log_writer import MAX_QUEUED_BYTES, RESUME_BELOW, LogWriter
from tests.timing import RESCUE


class GatedSink:
    """Takes what it is given while its gate is open; with an error, it takes nothing."""

    max_write = 4096

    def __init__(self) -> None:
        self.gate = Event()
        self.is_waiting = Event()
        self.writes: list[bytes] = []
        self.error: Exception | None = None
        self.most = 1 << 20  # bytes that it takes at once
        self.reopened = 0

    def write(self, data: bytes) -> int:
        self.is_waiting.set()
        assert self.gate.wait(RESCUE)
        if self.error is not None:
            raise self.error
        self.writes.append(data[: self.most])
        return len(self.writes[-1])

    def reopen(self) -> None:
        self.reopened += 1
        self.error = None

    @property
    def lines(self) -> list[str]:
        return b"".join(self.writes).decode().splitlines()


class WriterCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.sink = GatedSink()
        self.addCleanup(self.sink.gate.set)
        self.writer = LogWriter(self.sink, "[{}]\n".format)

    def until(self, so: Callable[[], object]) -> None:
        give_up = time.monotonic() + RESCUE
        while not so():
            assert time.monotonic() < give_up, self.sink.writes[-3:]
            time.sleep(0.001)

    def open(self) -> list[str]:
        """Let all be written; the lines."""
        self.sink.gate.set()
        self.writer.start()
        self.until(lambda: not self.writer.has_pending)
        return self.sink.lines

    def fill(self) -> int:
        """Queue as many bytes as may wait, in lines of a KiB; returns how many lines."""
        count = MAX_QUEUED_BYTES // 1024
        for number in range(count):
            self.writer.write(f"{number:1023}\n")
        return count


class QueueTests(WriterCase):
    def test_lines_of_before_the_start_are_written_in_order(self) -> None:
        for number in range(1000):
            self.writer.write(f"{number}\n")
        self.assertEqual(self.sink.writes, [])
        self.assertEqual(self.open(), [str(number) for number in range(1000)])

    def test_what_just_fits_is_kept(self) -> None:
        count = self.fill()
        self.assertEqual(self.writer.dropped_lines, 0)
        self.assertEqual(len(self.open()), count)

    def test_one_byte_more_is_dropped_and_reported(self) -> None:
        count = self.fill()
        self.writer.write("\n")
        self.assertEqual(self.writer.dropped_lines, 1)
        lines = self.open()
        self.assertEqual(len(lines), count + 1)
        self.assertEqual(lines[-1], "[1 line was dropped from this log: its reader was too slow]")

    def test_what_is_being_written_counts(self) -> None:
        self.writer.start()
        count = self.fill()
        self.assertTrue(self.sink.is_waiting.wait(RESCUE))
        self.writer.write("\n")
        self.assertEqual(self.writer.dropped_lines, 1)
        self.assertEqual(len(self.open()), count + 1)

    def test_a_slow_reader_gets_few_reports(self) -> None:
        """After a loss, lines are queued again only once half of the queue is written."""
        self.fill()
        for _ in range(10):
            self.writer.write("lost\n")
        self.writer.start()
        self.sink.most = 1024
        self.sink.gate.set()
        self.until(lambda: self.writer._queued_bytes <= RESUME_BELOW - 1024)
        self.writer.write("kept\n")
        lines = self.open()
        self.assertEqual(
            lines[-2:], ["[10 lines were dropped from this log: its reader was too slow]", "kept"]
        )
        self.assertNotIn("lost", lines)

    def test_writes_have_whole_lines(self) -> None:
        """As many as the sink takes in one write; a longer line is alone."""
        for size in (4000, 95, 96, 4096, 9000, 1):
            self.writer.write("x" * (size - 1) + "\n")
        self.open()
        self.assertEqual([len(data) for data in self.sink.writes], [4095, 96, 4096, 9000, 1])


class FailingTests(WriterCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(log_writer, "RETRY_DELAY", 0.01)

    def test_lines_wait_for_a_full_disk(self) -> None:
        self.sink.error = OSError(28, "No space left on device")
        self.writer.start()
        self.sink.gate.set()
        count = self.fill()
        self.until(lambda: self.writer._failure)
        self.writer.write("\n")
        self.sink.error = None
        lines = self.open()
        self.assertEqual(len(lines), count + 1)
        self.assertEqual(
            lines[-1], "[1 line was dropped from this log: it could not be written: No space left on device]"
        )

    def test_the_rest_of_a_line_follows(self) -> None:
        self.sink.most = 2
        self.writer.write("abcde\n")
        self.assertEqual(self.open(), ["abcde"])

    def test_another_file_is_tried_at_once(self) -> None:
        self.patch(log_writer, "RETRY_DELAY", RESCUE)
        self.sink.error = OSError(28, "No space left on device")
        self.sink.gate.set()
        self.writer.start()
        self.writer.write("a\n")
        self.until(lambda: self.writer._failure)
        self.writer.reopen()
        self.assertEqual(self.open(), ["a"])

    def test_lines_that_break_the_sink_are_lost_and_the_next_ones_written(self) -> None:
        self.sink.error = ValueError("I/O operation on closed file")
        self.sink.gate.set()
        self.writer.start()
        self.writer.write("a\nb\n")
        self.until(lambda: self.writer.dropped_lines)
        self.sink.error = None
        self.writer.write("c\n")
        reason = "it could not be written: ValueError: I/O operation on closed file"
        self.assertEqual(self.open(), [f"[2 lines were dropped from this log: {reason}]", "c"])

    def test_a_reopening_that_breaks(self) -> None:
        def fail() -> None:
            raise ValueError("embedded null byte")

        self.sink.reopen = fail  # type: ignore[method-assign]
        self.writer.write("a\n")
        self.writer.reopen()
        self.assertEqual(
            sorted(self.open()), ["[the log's file could not be opened again: embedded null byte]", "a"]
        )

    def test_a_file_that_can_not_be_opened_again(self) -> None:
        def refuse() -> None:
            raise PermissionError(13, "Permission denied", "/var/log/m.log")

        self.sink.reopen = refuse  # type: ignore[method-assign]
        self.writer.write("a\n")
        self.writer.reopen()
        lines = self.open()
        self.assertEqual(
            sorted(lines)[0],
            "[the log's file could not be opened again: [Errno 13] Permission denied: '/var/log/m.log']",
        )
        self.assertIn("a", lines)


class FinishTests(WriterCase):
    def test_all_is_written(self) -> None:
        self.sink.gate.set()
        self.writer.write("a\n")
        self.writer.finish()
        self.assertEqual(self.sink.lines, ["a"])
        self.writer.write("b\n")  # twistd's last
        self.assertEqual(self.sink.lines, ["a", "b"])

    def test_a_reader_that_stalls_is_not_waited_for(self) -> None:
        self.patch(log_writer, "EXIT_TIMEOUT", 0.01)
        self.writer.write("a\n")
        self.writer.finish()
        self.writer.write("b\n")
        self.writer.finish()
        self.assertEqual(self.sink.writes, [])

    def test_a_reader_that_has_gone_is_not_waited_for(self) -> None:
        self.patch(log_writer, "EXIT_TIMEOUT", RESCUE)
        self.patch(log_writer, "RETRY_DELAY", RESCUE)
        self.sink.error = BrokenPipeError(32, "Broken pipe")
        self.sink.gate.set()
        self.writer.start()
        self.writer.write("a\n")
        self.until(lambda: self.writer._failure)
        self.writer.write("b\n")
        self.writer.finish()
        self.assertEqual(self.writer.dropped_lines, 2)

    def test_a_write_inside_a_write(self) -> None:
        """As a signal handler or a destructor may make it: locks are reentrant, in either thread."""
        taken: list[bytes] = []

        class Nested(GatedSink):
            def write(sink, data: bytes) -> int:
                if not taken:
                    self.writer.write("inner\n")
                taken.append(data)
                return len(data)

        self.writer = LogWriter(Nested(), str)
        with self.writer._lock:
            self.writer.write("outer\n")
        self.writer.finish()
        self.assertEqual(taken, [b"outer\n", b"inner\n"])
