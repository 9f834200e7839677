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

from ..lifecycle import StartFailed
from .command import Command
from .parent import FAILED, READY, REPORT, STDIN

STEADY = 10.0  # seconds that a worker serves before its end counts as an accident
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0  # seconds before one is started again; a start takes a second of CPU
GRACE = 2.0  # seconds more than a worker takes to stop by itself
LONGEST_REPORT = 8192  # bytes of it that are not a whole line yet


@define(eq=False, repr=False)
class _Worker:
    number: int
    command: Command
    process: Any = None  # IProcessTransport, while it runs
    ready_at: float | None = None  # seconds, of the one that runs
    was_ready: bool = False  # ever
    why: str | None = None  # it could not start, by its own account
    pause: float = FIRST_PAUSE  # seconds before the next start
    again: IDelayedCall | None = None  # that start


@define(eq=False, repr=False)
class Workers(Service):
    """As many processes as there are commands; `unclean` is called when one had to be killed, or stopped badly.

    One that is not ready the first time fails the start of all; later it is
    started again, as often as it takes.
    """

    _commands: Sequence[Command]
    _settings: bytes  # the line that each is told
    _reactor: Any  # IReactorProcess, IReactorTime
    _stop_within: float  # seconds that each takes to stop by itself
    _unclean: Callable[[], object]
    _workers: list[_Worker] = Factory(list)
    _up: Deferred[None] = Factory(Deferred)
    _down: Deferred[None] | None = None
    _deadline: IDelayedCall | None = None

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires when all are ready; fails with `StartFailed` when one ends before."""
        super().startService()
        self._workers = [_Worker(number, command) for number, command in enumerate(self._commands)]
        for worker in self._workers:
            self._spawn(worker)
        return self._up

    def stopService(self) -> Deferred[None]:
        """Fires when all are gone; those that take too long are killed."""
        super().stopService()
        down: Deferred[None] = Deferred()
        self._down = down
        for worker in self._workers:
            if worker.again is not None and worker.again.active():
                worker.again.cancel()
            self._signal(worker, "TERM")
        self._deadline = self._reactor.callLater(self._stop_within + GRACE, self._kill)
        self._look()
        return down

    def hang_up(self) -> None:
        """Each is to read its files again."""
        for worker in self._workers:
            if worker.ready_at is not None:  # before, it would die of the signal, and reads them anyway
                self._signal(worker, "HUP")

    # What becomes of one.

    def _spawn(self, worker: _Worker) -> None:
        worker.ready_at = worker.why = None
        worker.process = self._reactor.spawnProcess(
            _Process(
                self._settings, lambda line: self._heard(worker, line), lambda end: self._ended(worker, end)
            ),
            worker.command.words[0],
            worker.command.words,
            worker.command.environment,
            childFDs={STDIN: "w", 1: 1, 2: 2, REPORT: "r"},
        )
        self._log.info("worker {number} is process {pid}", number=worker.number, pid=worker.process.pid)

    def _heard(self, worker: _Worker, line: str) -> None:
        if line == READY:
            worker.ready_at = self._reactor.seconds()
            worker.was_ready = True
            self._log.info("worker {number} is ready", number=worker.number)
            if not self._up.called and all(each.was_ready for each in self._workers):
                self._up.callback(None)
        elif line.startswith(FAILED):
            worker.why = line.removeprefix(FAILED)

    def _ended(self, worker: _Worker, end: Any) -> None:
        worker.process = None
        how = f"by signal {end.signal}" if end.exitCode is None else f"with status {end.exitCode}"
        if not self.running:
            if not (end.exitCode == 0 or end.signal == SIGTERM):
                self._log.error("worker {number} ended {how}", number=worker.number, how=how)
                self._unclean()
            self._look()
        elif worker.was_ready:
            self._restart(worker, f"ended {how}" + (f": {worker.why}" if worker.why else ""))
        elif not self._up.called:
            why = worker.why or f"worker {worker.number} ended {how} before it was ready"
            self._up.errback(StartFailed(why))

    def _restart(self, worker: _Worker, what: str) -> None:
        steady = worker.ready_at is not None and self._reactor.seconds() - worker.ready_at >= STEADY
        pause = FIRST_PAUSE if steady else worker.pause
        worker.pause = min(2 * pause, LONGEST_PAUSE)
        worker.again = self._reactor.callLater(pause, self._spawn_again, worker)
        self._log.error(
            "worker {number} {what}; starting it again in {pause} s",
            number=worker.number,
            what=what,
            pause=pause,
        )

    def _spawn_again(self, worker: _Worker) -> None:
        try:
            self._spawn(worker)
        except OSError as error:  # no memory, no descriptor, no room for processes
            self._restart(worker, f"could not be started: {error.strerror}")

    def _signal(self, worker: _Worker, name: str) -> None:
        if worker.process is not None:
            with suppress(ProcessExitedAlready):
                worker.process.signalProcess(name)

    # What becomes of all.

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process is not None:
                self._log.error("worker {number} does not stop: killing it", number=worker.number)
            self._signal(worker, "KILL")

    def _look(self) -> None:
        """Whether all are gone."""
        if self._down is not None and not any(worker.process for worker in self._workers):
            down, self._down = self._down, None
            if self._deadline is not None and self._deadline.active():
                self._deadline.cancel()
            down.callback(None)


class _Process(ProcessProtocol):
    """One worker's life: tells it the settings, and passes on the lines that it reports."""

    def __init__(
        self, settings: bytes, heard: Callable[[str], object], ended: Callable[[Any], object]
    ) -> None:
        self._settings = settings
        self._heard = heard
        self._ended = ended
        self._line = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.writeToChild(STDIN, self._settings)  # and leaves it open: its end is ours

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *whole, self._line = (self._line + data)[-LONGEST_REPORT:].split(b"\n")
        for line in whole:
            self._heard(line.decode(errors="replace"))

    def processEnded(self, reason: Failure) -> None:
        self._ended(reason.value)
