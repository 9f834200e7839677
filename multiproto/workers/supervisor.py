"""Keeps worker processes running: starts them together, restarts one that dies, and stops them all.

Each worker is the whole server.  They share a database, a Redis and the ports;
the supervisor itself serves nothing.
"""

from __future__ import annotations

import random
from contextlib import suppress
from signal import SIGTERM
from typing import Any, Callable, Sequence

from attrs import Factory, define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.backoff import Backoff
from ..base.deadline import Deadline
from ..lifecycle import StartupError
from .command import WorkerCommand
from .worker import FAILED_PREFIX, READY_LINE, REPORT_FD, STDIN_FD

STABLE_AFTER = 10.0  # seconds that a worker serves before its end counts as an accident
MIN_RESTART_DELAY, MAX_RESTART_DELAY = 0.1, 10.0  # seconds before a restart, which takes a second of CPU
STOP_GRACE_PERIOD = 2.0  # seconds beyond that until a worker is killed
MAX_REPORT_LINE = 8192  # bytes of a line that are kept until it is whole


@define(eq=False, repr=False)
class _Worker:
    """One worker, whether or not its process runs now."""

    number: int
    command: WorkerCommand
    process: Any = None  # IProcessTransport, while it runs
    ready_at: float | None = None  # the clock's seconds, of the process that runs
    was_ready: bool = False  # with this process or an earlier one
    failure_reason: str | None = None  # why it could not start, as it reported
    pending_signals: set[int] = Factory(set)  # to be sent when it is ready
    restart: Deadline = field(kw_only=True)
    backoff: Backoff = field(kw_only=True)  # of restarts


@define(eq=False, repr=False)
class Supervisor(Service):
    """Runs one process for each command.

    A worker that ends before it was ever ready fails the start of all; later it
    is restarted as often as it takes.  `on_unclean_exit` is called at the end when
    a worker was killed, or stopped with an error.
    """

    _commands: Sequence[WorkerCommand]
    _settings_line: bytes  # written to the standard input of each worker
    _reactor: Any  # IReactorProcess, IReactorTime
    _stop_timeout: float  # seconds that a worker may take to stop by itself
    _on_unclean_exit: Callable[[], object]
    _workers: list[_Worker] = Factory(list)
    _all_ready: Deferred[None] = Factory(Deferred)
    _all_stopped: Deferred[None] | None = None
    _jitter: Callable[[], float] = random.random  # of the delays of restarts; see `Backoff`
    _kill: Deadline = field(init=False)

    @_kill.default
    def _make_kill_deadline(self) -> Deadline:
        return Deadline(self._reactor)

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires when all workers are ready; fails with `StartupError` when one ends before."""
        super().startService()
        self._workers = [self._make_worker(number, command) for number, command in enumerate(self._commands)]
        for worker in self._workers:
            self._spawn(worker)
        return self._all_ready

    def stopService(self) -> Deferred[None]:
        """Fires when all workers have ended; those that take too long are killed."""
        super().stopService()
        down: Deferred[None] = Deferred()
        self._all_stopped = down
        for worker in self._workers:
            worker.restart.cancel()
            self._signal(worker, "TERM")
        self._kill.set(self._stop_timeout + STOP_GRACE_PERIOD, self._kill_remaining)
        self._check_all_stopped()
        return down

    def signal_all(self, number: int) -> None:
        """Send a signal to each worker: at once, or when it is ready, since it may kill one that is starting."""
        for worker in self._workers:
            if worker.ready_at is not None:
                self._signal(worker, number)
            else:  # its log file may be open already, under its old name
                worker.pending_signals.add(number)

    # One worker.

    def _make_worker(self, number: int, command: WorkerCommand) -> _Worker:
        backoff = Backoff(MIN_RESTART_DELAY, MAX_RESTART_DELAY, self._jitter)
        return _Worker(number, command, restart=Deadline(self._reactor), backoff=backoff)

    def _spawn(self, worker: _Worker) -> None:
        worker.ready_at = worker.failure_reason = None
        worker.process = self._reactor.spawnProcess(
            _WorkerProcess(
                self._settings_line,
                lambda line: self._on_report(worker, line),
                lambda reason: self._on_exit(worker, reason),
            ),
            worker.command.arguments[0],
            worker.command.arguments,
            worker.command.environment,
            childFDs={STDIN_FD: "w", 1: 1, 2: 2, REPORT_FD: "r"},
        )
        self._log.info("worker {number} is process {pid}", number=worker.number, pid=worker.process.pid)

    def _on_report(self, worker: _Worker, line: str) -> None:
        if line == READY_LINE:
            worker.ready_at = self._reactor.seconds()
            worker.was_ready = True
            self._log.info("worker {number} is ready", number=worker.number)
            while worker.pending_signals:
                self._signal(worker, worker.pending_signals.pop())
            if not self._all_ready.called and all(each.was_ready for each in self._workers):
                self._all_ready.callback(None)
        elif line.startswith(FAILED_PREFIX):
            worker.failure_reason = line.removeprefix(FAILED_PREFIX)

    def _on_exit(self, worker: _Worker, reason: Any) -> None:
        worker.process = None
        how = f"by signal {reason.signal}" if reason.exitCode is None else f"with status {reason.exitCode}"
        if not self.running:
            if not (reason.exitCode == 0 or reason.signal == SIGTERM):
                self._log.error("worker {number} ended {how}", number=worker.number, how=how)
                self._on_unclean_exit()
            self._check_all_stopped()
        elif worker.was_ready:
            self._restart(
                worker, f"ended {how}" + (f": {worker.failure_reason}" if worker.failure_reason else "")
            )
        elif not self._all_ready.called:
            why = worker.failure_reason or f"worker {worker.number} ended {how} before it was ready"
            self._all_ready.errback(StartupError(why))

    def _restart(self, worker: _Worker, what: str) -> None:
        if worker.ready_at is not None and self._reactor.seconds() - worker.ready_at >= STABLE_AFTER:
            worker.backoff.reset()
        delay = round(worker.backoff.next_delay(), 3)
        worker.restart.set(delay, lambda: self._respawn(worker))
        self._log.error(
            "worker {number} {what}; starting it again in {pause} s",
            number=worker.number,
            what=what,
            pause=delay,
        )

    def _respawn(self, worker: _Worker) -> None:
        try:
            self._spawn(worker)
        except OSError as error:  # no memory, no descriptor, no room for processes
            self._restart(worker, f"could not be started: {error.strerror}")

    def _signal(self, worker: _Worker, name: str | int) -> None:
        if worker.process is not None:
            with suppress(ProcessExitedAlready):
                worker.process.signalProcess(name)

    # All workers.

    def _kill_remaining(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                self._log.error("worker {number} does not stop: killing it", number=worker.number)
            self._signal(worker, "KILL")

    def _check_all_stopped(self) -> None:
        """Fire the result of `stopService` once all workers have ended."""
        if self._all_stopped is not None and not any(worker.process for worker in self._workers):
            down, self._all_stopped = self._all_stopped, None
            self._kill.cancel()
            down.callback(None)


class _WorkerProcess(ProcessProtocol):
    """The process of one worker: sends it the settings, and passes on the lines that it reports."""

    def __init__(
        self, settings: bytes, on_line: Callable[[str], object], on_exit: Callable[[Any], object]
    ) -> None:
        self._settings_line = settings
        self._on_line = on_line
        self._on_exit = on_exit
        self._buffer = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        # Left open: the worker ends when the supervisor does.
        transport.writeToChild(STDIN_FD, self._settings_line)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *whole, self._buffer = (self._buffer + data)[-MAX_REPORT_LINE:].split(b"\n")
        for line in whole:
            self._on_line(line.decode(errors="replace"))

    def processEnded(self, reason: Failure) -> None:
        self._on_exit(reason.value)
