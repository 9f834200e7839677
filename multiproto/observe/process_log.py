"""The process's own log: an observer that formats events, and the writer that its lines go to."""

from __future__ import annotations

import atexit
import signal
import syslog
import time
from typing import Any

from attrs import define
from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, LegacyLogObserverWrapper, LogLevel
from twisted.python.syslog import SyslogObserver

from .log_sinks import StreamSink, SyslogSink
from .log_writer import LogSink, LogWriter
from .logs import make_observer

STDOUT = 1  # descriptor
NAMESPACE = "multiproto.log"  # the logger of lines about the log itself


@define(eq=False, repr=False)
class ProcessLog:
    """Where this process logs.  Nothing here blocks but `finish`, which waits a moment."""

    observer: ILogObserver
    writer: LogWriter
    has_file: bool = False  # a log file of its own, which is opened again on a signal
    _stdout: LogWriter | None = None  # `writer`, where the log goes to standard output

    def start(self, reactor: IReactorCore) -> None:
        """Start writing; to be called once the process has forked, if it does.

        From then on, SIGUSR1 reopens the file, and SIGHUP does so where there is one.  A process without
        one still ends with SIGHUP, which a terminal sends when it closes.
        """
        self.writer.start()
        # As well as at exit: where twistd ends itself by a signal, exit handlers do not run.
        reactor.addSystemEventTrigger("after", "shutdown", self.finish)
        atexit.register(self.finish)
        signal.signal(signal.SIGUSR1, self._on_signal)
        if self.has_file:
            signal.signal(signal.SIGHUP, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self.writer.reopen()

    def finish(self) -> None:
        """Write what is queued: the process ends."""
        for writer in (self.writer, self._stdout):
            if writer is not None:
                writer.finish()

    def print_to_stdout(self, text: str) -> None:
        """Print on the process's own standard output: twistd has made `sys.stdout` a part of the log."""
        if self._stdout is None:
            self._stdout = LogWriter(StreamSink(STDOUT), str)
            self._stdout.start()
        self._stdout.write(f"{text}\n")


def make_line_log(
    sink: LogSink, level: str, pretty: bool, worker: int | None = None, has_file: bool = False
) -> ProcessLog:
    """The log of events from `level` up as lines in `sink`; without a file, that is standard output."""

    def format_notice(text: str) -> str:
        event = {"log_time": time.time(), "log_level": LogLevel.warn, "log_namespace": NAMESPACE}
        format = text.replace("{", "{{").replace("}", "}}")
        return observer.format_line({**event, "log_format": format})

    writer = LogWriter(sink, format_notice)
    observer = make_observer(level, pretty, writer.write, worker)
    return ProcessLog(observer, writer, has_file, None if has_file else writer)


def make_syslog_log(prefix: str) -> ProcessLog:
    """The log as twistd writes it to syslog, but for who waits for that."""
    writer = LogWriter(SyslogSink(), lambda text: _syslog_line(syslog.LOG_WARNING, f"[{NAMESPACE}] {text}"))
    observer: Any = SyslogObserver(prefix)
    observer.syslog = lambda priority, text: writer.write(_syslog_line(priority, text))
    return ProcessLog(LegacyLogObserverWrapper(observer.emit), writer)


def _syslog_line(priority: int, text: str) -> str:
    return f"<{priority}>{text}\n"
