"""Writes lines of the process's log without ever making a caller wait.

A pipe whose reader stalls, a terminal that is stopped and a disk that hangs block
whoever writes to them.  Here that is a thread: callers queue their lines, and lines
beyond the queue's bound are dropped and counted (docs/decisions/028-the-process-log.md).
"""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import RLock, Thread, get_ident
from typing import Callable, Protocol

from attrs import define, field

MAX_QUEUED_BYTES = 1 << 20  # of lines that wait to be written; one more line is dropped
# Bytes; lines are queued again below it after a loss, so that a slow reader gets few reports of many lines.
RESUME_BELOW = MAX_QUEUED_BYTES // 2
# Seconds in which lines are gathered for a write.  The thread needs the interpreter's lock at each wake and after
# each write, and takes it from the reactor's thread: some 0.1 ms of CPU each time.
GATHER_TIME = 0.02
RETRY_DELAY = 1.0  # seconds after a write that failed, as on a full disk
EXIT_TIMEOUT = 1.0  # seconds that the process waits at its end for what is queued


class LogSink(Protocol):
    """Where lines go.  The writer's thread makes all calls, and any may block."""

    @property
    def max_write(self) -> int:
        """At most so many bytes in one write, in whole lines; a longer line is alone."""

    def write(self, data: bytes) -> int:
        """Write the beginning of `data`, whole lines; returns how many bytes.  Raises `OSError`."""

    def reopen(self) -> None:
        """Open a file again by its name; a sink that has none does nothing.  Raises `OSError`."""


@define(eq=False, repr=False)
class LogWriter:
    """A queue of lines for one sink, and the thread that writes them.

    Lines may be queued before `start`, which is called once the process has forked, if it does.
    Callers may be any thread, a signal handler or a destructor: locks are reentrant.
    """

    _sink: LogSink
    _format_notice: Callable[[str], str]  # the line that says in this log what happened to the log
    dropped_lines: int = field(default=0, init=False)
    _unreported: int = field(default=0, init=False)  # dropped lines that no line has told of yet
    _max_queued_bytes: int = field(default=MAX_QUEUED_BYTES, init=False)  # less after a loss
    _failure: str | None = field(default=None, init=False)  # why the last write failed
    _loss_reason: str = field(default="", init=False)
    _lines: deque[bytes] = field(factory=deque, init=False)
    _queued_bytes: int = field(default=0, init=False)  # those that are being written included
    _lock: RLock = field(factory=RLock, init=False)  # held for moments only, never while the sink writes
    _wakeups: SimpleQueue[None] = field(factory=SimpleQueue, init=False)
    _is_idle: bool = field(default=True, init=False)  # the thread waits for a line
    _must_reopen: bool = field(default=False, init=False)
    _exit_deadline: float | None = field(default=None, init=False)  # monotonic seconds
    _thread: Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start writing."""
        if self._thread is None:
            self._thread = Thread(
                target=self._run, name="log", daemon=True
            )  # a stalled one must not hold exit
            self._thread.start()

    def write(self, text: str) -> None:
        """Queue `text`, whole lines, or drop it."""
        line = _encode(text)
        with self._lock:
            if self._queued_bytes + len(line) > self._max_queued_bytes:
                self._drop(1)
            else:
                if self._unreported:
                    self._report_loss()
                self._enqueue(line)
        if self._exit_deadline is not None:
            self._drain(self._exit_deadline)

    def reopen(self) -> None:
        """Open the sink's file again, before anything else is written."""
        self._must_reopen = True
        self._wakeups.put(None)

    def finish(self) -> None:
        """Write what is queued, and from now on each line at once, for at most `EXIT_TIMEOUT` in all."""
        if self._exit_deadline is None:
            self._exit_deadline = time.monotonic() + EXIT_TIMEOUT
        with suppress(RuntimeError):  # the interpreter is too far gone for a first thread
            self.start()
            self._drain(self._exit_deadline)

    @property
    def has_pending(self) -> bool:
        """Whether a line, or the report of dropped ones, is still to be written."""
        with self._lock:
            return bool(self._queued_bytes or self._unreported)

    # For the callers; those that need the lock have it.

    def _drop(self, count: int) -> None:
        self._max_queued_bytes = RESUME_BELOW
        self.dropped_lines += count
        self._unreported += count
        self._loss_reason = (
            f"it could not be written: {self._failure}" if self._failure else "its reader was too slow"
        )

    def _report_loss(self) -> None:
        """Queue the line about dropped lines, in their place."""
        self._max_queued_bytes = MAX_QUEUED_BYTES
        count, self._unreported = self._unreported, 0
        lines = "1 line was" if count == 1 else f"{count} lines were"
        self._enqueue(_encode(self._format_notice(f"{lines} dropped from this log: {self._loss_reason}")))

    def _enqueue(self, line: bytes) -> None:
        self._lines.append(line)
        self._queued_bytes += len(line)
        if self._is_idle:
            self._is_idle = False
            self._wakeups.put(None)  # unlike an Event's or a Condition's methods, reentrant

    def _drain(self, deadline: float) -> None:
        """Wait until all is written or given up, or until the monotonic time `deadline`."""
        if self._thread is None or self._thread.ident == get_ident():
            return
        self._wakeups.put(None)
        while self.has_pending and time.monotonic() < deadline:
            time.sleep(0.001)

    # The thread.

    def _run(self) -> None:
        while True:
            self._wakeups.get()
            self._gather()
            while self._write_some():
                if not self._lines:
                    self._gather()

    def _gather(self) -> None:
        if self._exit_deadline is None:
            time.sleep(GATHER_TIME)

    def _write_some(self) -> bool:
        """Write some lines; `False` when there are none, and the next one will wake this thread."""
        self._reopen_if_asked()
        with self._lock:
            if self._unreported and not self._lines:
                self._report_loss()
            data = self._next_batch()
            self._is_idle = not data
        self._write_batch(data)
        return bool(data)

    def _next_batch(self) -> bytes:
        """The first lines, as many as one write may have; they stay in the count of queued bytes."""
        if self._queued_bytes <= self._sink.max_write:
            data = b"".join(self._lines)
            self._lines.clear()
            return data
        batch: list[bytes] = []
        size = 0
        while self._lines and (not batch or size + len(self._lines[0]) <= self._sink.max_write):
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        return b"".join(batch)

    def _reopen_if_asked(self) -> None:
        if not self._must_reopen:
            return
        self._must_reopen = False
        try:
            self._sink.reopen()
        except Exception as error:  # whatever it is, this thread must live on
            with self._lock:
                self._enqueue(
                    _encode(self._format_notice(f"the log's file could not be opened again: {error}"))
                )

    def _write_batch(self, data: bytes) -> None:
        """Write `data`; what the sink refuses is tried again before anything else."""
        rest = data
        while rest:
            self._reopen_if_asked()
            try:
                written = self._sink.write(rest)
            except OSError as error:
                self._failure = error.strerror or str(error)
                if self._is_given_up(rest):
                    return
                self._wait_to_retry()
            except Exception as bug:  # of the sink's: the same lines might meet it for ever
                self._drop_batch(rest, bug)
                return
            else:
                self._failure = None
                rest = rest[written:]
                with self._lock:
                    self._queued_bytes -= written

    def _drop_batch(self, rest: bytes, bug: Exception) -> None:
        """Count what is left of a batch as lost; the next line that is written says so."""
        self._failure = f"{type(bug).__name__}: {bug}"
        with self._lock:
            self._queued_bytes -= len(rest)
            self._drop(rest.count(b"\n"))

    def _is_given_up(self, rest: bytes) -> bool:
        """At the process's end, nothing waits for a sink that fails: count what it did not get."""
        if self._exit_deadline is None:
            return False
        with self._lock:
            self.dropped_lines += rest.count(b"\n") + len(self._lines)
            self._lines.clear()
            self._queued_bytes = self._unreported = 0
        return True

    def _wait_to_retry(self) -> None:
        """Wait; not as long where `reopen` or `finish` is called."""
        with suppress(Empty):
            self._wakeups.get(timeout=RETRY_DELAY)


def _encode(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
