"""Keeps workers running: starts them together, one that dies again, and ends them all together.

Each is the whole server.  What they share is a database, a Redis and the
ports; we serve nothing ourselves.
"""

from __future__ import annotations

from contextlib import suppress
from signal import SIGTERM
from typing import Any, Callable, Sequence

from attrs import Factory, define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..lifecycle import StartupError
from .command import WorkerCommand
from .worker import FAILED_PREFIX, READY_LINE, REPORT_FD, STDIN_FD

STABLE_AFTER = 10.0  # seconds that a worker serves before its end counts as an accident
MIN_RESTART_DELAY, MAX_RESTART_DELAY = (
    0.1,
    10.0,
)  # seconds before one is started again; a start takes a second of CPU
STOP_GRACE_PERIOD = 2.0  # seconds more than a worker takes to stop by itself
MAX_REPORT_LINE = 8192  # bytes of it that are not a whole line yet


@define(eq=False, repr=False)
class _Worker:
    number: int
    command: WorkerCommand
    process: Any = None  # IProcessTransport, while it runs
    ready_at: float | None = None  # seconds, of the one that runs
    was_ready: bool = False  # ever
    failure_reason: str | None = None  # it could not start, by its own account
    restart_delay: float = MIN_RESTART_DELAY  # seconds before the next start
    restart_call: IDelayedCall | None = None  # that start


@define(eq=False, repr=False)
class Supervisor(Service):
    """As many processes as there are commands; `unclean` is called when one had to be killed, or stopped badly.

    One that is not ready the first time fails the start of all; later it is
    started again, as often as it takes.
    """

    _commands: Sequence[WorkerCommand]
    _settings_line: bytes  # the line that each is told
    _reactor: Any  # IReactorProcess, IReactorTime
    _stop_timeout: float  # seconds that each takes to stop by itself
    _on_unclean_exit: Callable[[], object]
    _workers: list[_Worker] = Factory(list)
    _all_ready: Deferred[None] = Factory(Deferred)
    _all_stopped: Deferred[None] | None = None
    _kill_deadline: IDelayedCall | None = None

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires when all are ready; fails with `StartupError` when one ends before."""
        super().startService()
        self._workers = [_Worker(number, command) for number, command in enumerate(self._commands)]
        for worker in self._workers:
            self._spawn(worker)
        return self._all_ready

    def stopService(self) -> Deferred[None]:
        """Fires when all are gone; those that take too long are killed."""
        super().stopService()
        down: Deferred[None] = Deferred()
        self._all_stopped = down
        for worker in self._workers:
            if worker.restart_call is not None and worker.restart_call.active():
                worker.restart_call.cancel()
            self._signal(worker, "TERM")
        self._kill_deadline = self._reactor.callLater(
            self._stop_timeout + STOP_GRACE_PERIOD, self._kill_remaining
        )
        self._check_all_stopped()
        return down

    def reload(self) -> None:
        """Each is to read its files again."""
        for worker in self._workers:
            if worker.ready_at is not None:  # before, it would die of the signal, and reads them anyway
                self._signal(worker, "HUP")

    # What becomes of one.

    def _spawn(self, worker: _Worker) -> None:
        worker.ready_at = worker.failure_reason = None
        worker.process = self._reactor.spawnProcess(
            _WorkerProcess(
                self._settings_line,
                lambda line: self._on_report(worker, line),
                lambda end: self._on_exit(worker, end),
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
            if not self._all_ready.called and all(each.was_ready for each in self._workers):
                self._all_ready.callback(None)
        elif line.startswith(FAILED_PREFIX):
            worker.failure_reason = line.removeprefix(FAILED_PREFIX)

    def _on_exit(self, worker: _Worker, end: Any) -> None:
        worker.process = None
        how = f"by signal {end.signal}" if end.exitCode is None else f"with status {end.exitCode}"
        if not self.running:
            if not (end.exitCode == 0 or end.signal == SIGTERM):
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
        steady = worker.ready_at is not None and self._reactor.seconds() - worker.ready_at >= STABLE_AFTER
        pause = MIN_RESTART_DELAY if steady else worker.restart_delay
        worker.restart_delay = min(2 * pause, MAX_RESTART_DELAY)
        worker.restart_call = self._reactor.callLater(pause, self._respawn, worker)
        self._log.error(
            "worker {number} {what}; starting it again in {pause} s",
            number=worker.number,
            what=what,
            pause=pause,
        )

    def _respawn(self, worker: _Worker) -> None:
        try:
            self._spawn(worker)
        except OSError as error:  # no memory, no descriptor, no room for processes
            self._restart(worker, f"could not be started: {error.strerror}")

    def _signal(self, worker: _Worker, name: str) -> None:
        if worker.process is not None:
            with suppress(ProcessExitedAlready):
                worker.process.signalProcess(name)

    # What becomes of all.

    def _kill_remaining(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                self._log.error("worker {number} does not stop: killing it", number=worker.number)
            self._signal(worker, "KILL")

    def _check_all_stopped(self) -> None:
        """Whether all are gone."""
        if self._all_stopped is not None and not any(worker.process for worker in self._workers):
            down, self._all_stopped = self._all_stopped, None
            if self._kill_deadline is not None and self._kill_deadline.active():
                self._kill_deadline.cancel()
            down.callback(None)


class _WorkerProcess(ProcessProtocol):
    """One worker's life: tells it the settings, and passes on the lines that it reports."""

    def __init__(
        self, settings: bytes, heard: Callable[[str], object], ended: Callable[[Any], object]
    ) -> None:
        self._settings_line = settings
        self._on_line = heard
        self._on_exit = ended
        self._buffer = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.writeToChild(STDIN_FD, self._settings_line)  # and leaves it open: its end is ours

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *whole, self._buffer = (self._buffer + data)[-MAX_REPORT_LINE:].split(b"\n")
        for line in whole:
            self._on_line(line.decode(errors="replace"))

    def processEnded(self, reason: Failure) -> None:
        self._on_exit(reason.value)
