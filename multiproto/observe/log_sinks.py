"""Where the process's log is written: a stream such as standard output, a file that rotates, or syslog."""

from __future__ import annotations

import os
import select
import stat
import syslog
from contextlib import suppress
from pathlib import Path

from attrs import define, field

MAX_FILE_WRITE = 65_536  # bytes
MAX_STREAM_WRITE = 4096  # bytes; such a write to a pipe, which processes may share, is atomic (POSIX)


@define(eq=False, repr=False)
class StreamSink:
    """A pipe, terminal, socket or file that the process has inherited."""

    _fd: int
    max_write: int = field(init=False)

    @max_write.default
    def _find_max_write(self) -> int:
        with suppress(OSError):  # it is closed, as each write will say
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                return MAX_FILE_WRITE
        return MAX_STREAM_WRITE

    def write(self, data: bytes) -> int:
        return _write(self._fd, data)

    def reopen(self) -> None:
        """Whoever made the stream is in charge of it."""


@define(eq=False, repr=False)
class RotatingFileSink:
    """A file that is renamed to `.1` before it grows over `max_size`, the former `.1` to `.2`, and so on.

    At most `kept_files` of those are kept.  The directory is never listed: with 20,000 files in it, that took 1.6 s.
    """

    _path: Path  # absolute: twistd may change the directory
    _max_size: int  # bytes; 0: it never rotates by itself
    _kept_files: int
    max_write: int = field(init=False)
    _fd: int = field(init=False)
    _size: int = field(init=False)  # bytes

    def __attrs_post_init__(self) -> None:
        """Raises `OSError`."""
        self.max_write = min(MAX_FILE_WRITE, self._max_size or MAX_FILE_WRITE)
        self._use(self._open())

    def write(self, data: bytes) -> int:
        if self._max_size and self._size and self._size + len(data) > self._max_size:
            self._rotate()
        written = _write(self._fd, data)
        self._size += written
        return written

    def reopen(self) -> None:
        opened = self._open()
        os.close(self._fd)
        self._use(opened)

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _use(self, fd: int) -> None:
        self._fd = fd
        self._size = os.fstat(fd).st_size

    def _rotate(self) -> None:
        """Begin a new file.  Where that fails, or somebody else has moved the file already, go on without."""
        try:
            if self._is_still_named():
                self._shift_names()
            self.reopen()
        except OSError:
            self._size = 0  # the next attempt is a whole file later, not with each line

    def _is_still_named(self) -> bool:
        opened = os.fstat(self._fd)
        if not stat.S_ISREG(opened.st_mode):
            return False
        with suppress(FileNotFoundError):
            return os.path.samestat(opened, os.stat(self._path))
        return False

    def _shift_names(self) -> None:
        if not self._kept_files:
            self._path.unlink()
            return
        for number in range(self._kept_files - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._numbered(number).replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class SyslogSink:
    """The system's log.  A line begins with its priority and facility, as in RFC 3164: `<14>`."""

    max_write = MAX_STREAM_WRITE

    def write(self, data: bytes) -> int:
        line, end, _ = data.partition(b"\n")
        priority, _, text = line.removeprefix(b"<").partition(b">")
        syslog.syslog(int(priority), text.decode(errors="replace"))
        return len(line) + len(end)

    def reopen(self) -> None:
        """The C library connects again by itself."""


def _write(fd: int, data: bytes) -> int:
    """Like `os.write`, and waits also where another owner of the stream has made it non-blocking."""
    while True:
        try:
            return os.write(fd, data)
        except BlockingIOError:
            writable = select.poll()
            writable.register(fd, select.POLLOUT)
            writable.poll()
