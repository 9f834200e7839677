"""Files of the log: how they rotate, and what becomes of one that somebody else moves."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe.log_sinks import MAX_FILE_WRITE, MAX_STREAM_WRITE, RotatingFileSink, StreamSink


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.path = self.folder / "m.log"

    def sink(self, max_size: int = 0, kept_files: int = 2) -> RotatingFileSink:
        sink = RotatingFileSink(self.path, max_size, kept_files)
        self.addCleanup(sink.close)
        return sink

    @property
    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.iterdir()}


class RotationTests(FileCase):
    def write_all(self, sink: RotatingFileSink, *lines: bytes) -> None:
        for line in lines:
            self.assertEqual(sink.write(line), len(line))

    def test_a_file_is_full_when_the_next_line_would_not_fit(self) -> None:
        self.write_all(self.sink(max_size=4), b"a\n", b"b\n", b"c\n")
        self.assertEqual(self.files, {"m.log": "c\n", "m.log.1": "a\nb\n"})

    def test_so_many_are_kept(self) -> None:
        self.write_all(self.sink(max_size=2), b"a\n", b"b\n", b"c\n", b"d\n")
        self.assertEqual(self.files, {"m.log": "d\n", "m.log.1": "c\n", "m.log.2": "b\n"})

    def test_none_is_kept(self) -> None:
        self.write_all(self.sink(max_size=2, kept_files=0), b"a\n", b"b\n")
        self.assertEqual(self.files, {"m.log": "b\n"})

    def test_never(self) -> None:
        self.write_all(self.sink(max_size=0), b"a" * 5000, b"b")
        self.assertEqual(list(self.files), ["m.log"])

    def test_a_line_that_is_longer_than_a_file(self) -> None:
        self.write_all(self.sink(max_size=2), b"long\n", b"b\n")
        self.assertEqual(self.files, {"m.log": "b\n", "m.log.1": "long\n"})

    def test_a_write_is_no_longer_than_a_file(self) -> None:
        sizes = (0, MAX_FILE_WRITE + 1, MAX_FILE_WRITE, MAX_FILE_WRITE - 1)
        self.assertEqual(
            [self.sink(max_size=size).max_write for size in sizes], [MAX_FILE_WRITE] * 3 + [sizes[-1]]
        )

    def test_it_goes_on_where_the_last_process_stopped(self) -> None:
        self.path.write_text("a\n")
        self.write_all(self.sink(max_size=4), b"b\n", b"c\n")
        self.assertEqual(self.files, {"m.log": "c\n", "m.log.1": "a\nb\n"})

    def test_a_full_directory_is_not_listed(self) -> None:
        """With 20,000 files in it, that took 1.6 s."""
        for number in range(1, 20_001):
            (self.folder / f"m.log.{number}").touch()

        def refuse(*arguments: Any, **options: Any) -> None:
            raise AssertionError("the directory was listed")

        for module, name in ((os, "listdir"), (os, "scandir"), (glob, "glob"), (glob, "iglob")):
            self.patch(module, name, refuse)
        self.write_all(self.sink(max_size=2), b"a\n", b"b\n")
        self.assertEqual((self.folder / "m.log.1").read_text(), "a\n")

    def test_a_directory_in_the_way(self) -> None:
        """Lines go on into the file that is open."""
        (self.folder / "m.log.1").mkdir()
        self.write_all(self.sink(max_size=4, kept_files=1), b"a\n", b"b\n", b"c\n", b"d\n")
        self.assertEqual(self.path.read_text(), "a\nb\nc\nd\n")


class MovedTests(FileCase):
    def test_lines_follow_the_file_until_it_is_reopened(self) -> None:
        sink = self.sink()
        sink.write(b"a\n")
        self.path.rename(self.folder / "moved")
        sink.write(b"b\n")
        sink.reopen()
        sink.write(b"c\n")
        self.assertEqual(self.files, {"moved": "a\nb\n", "m.log": "c\n"})

    def test_a_file_of_somebody_else_is_not_renamed(self) -> None:
        """A full file that was moved, and another is in its place, before the signal to reopen it."""
        sink = self.sink(max_size=2)
        sink.write(b"a\n")
        self.path.rename(self.folder / "moved")
        self.path.write_text("new\n")
        sink.write(b"b\n")
        self.assertEqual(self.files, {"moved": "a\n", "m.log": "new\nb\n"})

    def test_a_file_that_was_deleted(self) -> None:
        sink = self.sink(max_size=2)
        sink.write(b"a\n")
        self.path.unlink()
        sink.write(b"b\n")
        self.assertEqual(self.files, {"m.log": "b\n"})

    def test_a_folder_that_has_gone(self) -> None:
        """The open file stays the log's."""
        sink = self.sink()
        moved = self.folder.with_suffix(".moved")
        self.folder.rename(moved)
        self.assertRaises(FileNotFoundError, sink.reopen)
        sink.write(b"a\n")
        self.assertEqual((moved / "m.log").read_text(), "a\n")


class StreamTests(SynchronousTestCase):
    def test_a_write_to_a_pipe_is_atomic(self) -> None:
        """Processes may share it; writes to a file are never mixed."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        self.assertEqual(StreamSink(writing).max_write, MAX_STREAM_WRITE)
        self.assertLessEqual(MAX_STREAM_WRITE, os.fpathconf(writing, "PC_PIPE_BUF"))
        with Path(self.mktemp()).open("wb") as file:
            self.assertEqual(StreamSink(file.fileno()).max_write, MAX_FILE_WRITE)

    def test_one_that_is_closed(self) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        os.close(writing)
        sink = StreamSink(writing)
        self.assertRaises(OSError, sink.write, b"lost\n")

    def test_a_pipe_that_somebody_made_non_blocking(self) -> None:
        """It is waited for: the flag belongs to all processes that share the pipe."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        os.set_blocking(writing, False)
        sink, data = StreamSink(writing), b"x" * 4096
        while True:
            try:
                os.write(writing, data)
            except BlockingIOError:
                break
        os.read(reading, 4096)
        self.assertEqual(sink.write(data), 4096)
        self.assertRaises(BlockingIOError, os.write, writing, data)
