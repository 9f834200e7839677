"""The messages between a worker and its supervisor, as the worker sees them.

Standard input brings the settings as one line of JSON, and then nothing; it
closes when the supervisor ends.  On descriptor 3 the worker writes one line:
`report_ready`, or `report_failure` with the reason.
"""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, TextIO

from attrs import define, evolve
from twisted.application.service import Service
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..config import Config

WORKER_NUMBER_VARIABLE = "MULTIPROTO_WORKER"  # in the environment of a worker: which one it is, from 0
STDIN_FD, REPORT_FD = 0, 3  # descriptors

MAX_REASON_LENGTH = 1000  # characters
# Lines on `REPORT_FD`; the operator reads what follows the prefix.
READY_LINE, FAILED_PREFIX = "ready", "failed "


@define(eq=False, repr=False)
class SupervisorLink:
    """The connection of this worker to its supervisor."""

    worker_number: int
    setting_texts: Mapping[str, str]  # by the setting's name, as the supervisor read them
    _report_fd: int = REPORT_FD
    _stdin_fd: int = STDIN_FD

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], stdin: TextIO) -> SupervisorLink | None:
        """The link of this process, or `None` if it is no worker.  Blocks until the settings have come."""
        if WORKER_NUMBER_VARIABLE not in environ:
            return None
        line = stdin.readline()
        if not line:
            raise SystemExit(1)  # the supervisor is gone already
        return cls(int(environ[WORKER_NUMBER_VARIABLE]), json.loads(line))

    def worker_config(self, config: Config) -> Config:
        """The common `config` with what is this worker's own: its metrics port."""
        metrics = config.metrics
        return evolve(config, metrics=evolve(metrics, port=metrics.port + self.worker_number))

    def report_ready(self) -> None:
        os.write(self._report_fd, f"{READY_LINE}\n".encode())

    def report_failure(self, why: str) -> None:
        """The worker can't start; `why` is one line."""
        os.write(self._report_fd, f"{FAILED_PREFIX}{why[:MAX_REASON_LENGTH]}\n".encode(errors="replace"))

    def make_watcher(self, reactor: Any) -> SupervisorWatcher:
        return SupervisorWatcher(reactor, self._stdin_fd)


@implementer(IReadDescriptor)
@define(eq=False, repr=False)
class SupervisorWatcher(Service):
    """Stops this process in order when the supervisor's end of the pipe closes, as it does even after kill -9."""

    _reactor: Any  # IReactorFDSet, IReactorCore
    _descriptor: int

    _log = Logger()

    def startService(self) -> None:
        super().startService()
        self._reactor.addReader(self)

    def stopService(self) -> None:
        super().stopService()
        self._reactor.removeReader(self)

    # The reactor calls these.

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return type(self).__name__

    def doRead(self) -> None:
        if not os.read(self._descriptor, 4096):
            self._on_supervisor_gone()

    def connectionLost(self, reason: Failure) -> None:
        """The pipe has closed, or the reactor stops and drops its readers."""
        self._on_supervisor_gone()

    def _on_supervisor_gone(self) -> None:
        self._reactor.removeReader(self)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            return  # it is stopping already
        self._log.error("the supervisor is gone: stopping")
