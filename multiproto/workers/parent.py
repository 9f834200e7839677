"""What a worker and the supervisor that started it say to each other, seen from the worker.

Standard input: the settings, as one line of JSON, then nothing; its end is the
supervisor's end.  Descriptor 3: one line, `ready`, or `failed` and why.
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

NUMBER = "MULTIPROTO_WORKER"  # in the environment of a worker: which one it is, from 0
STDIN, REPORT = 0, 3  # descriptors

LONGEST_WHY = 1000  # characters
READY, FAILED = "ready", "failed "  # lines on REPORT; what follows the second is for the operator


@define(eq=False, repr=False)
class Parent:
    """The supervisor of this worker."""

    number: int
    texts: Mapping[str, str]  # settings, as the supervisor read them
    _report: int = REPORT
    _input: int = STDIN

    @classmethod
    def of(cls, environ: Mapping[str, str], stdin: TextIO) -> Parent | None:
        """`None` in a process that is no worker.  Waits for the settings."""
        if NUMBER not in environ:
            return None
        line = stdin.readline()
        if not line:
            raise SystemExit(1)  # the supervisor is gone already
        return cls(int(environ[NUMBER]), json.loads(line))

    def part(self, config: Config) -> Config:
        """What all have, with what is this worker's own."""
        metrics = config.metrics
        return evolve(config, metrics=evolve(metrics, port=metrics.port + self.number))

    def ready(self) -> None:
        os.write(self._report, f"{READY}\n".encode())

    def failed(self, why: str) -> None:
        """The start is off; `why` is one line."""
        os.write(self._report, f"{FAILED}{why[:LONGEST_WHY]}\n".encode(errors="replace"))

    def leash(self, reactor: Any) -> Leash:
        return Leash(reactor, self._input)


@implementer(IReadDescriptor)
@define(eq=False, repr=False)
class Leash(Service):
    """Stops this process, in order, when the supervisor's end of a pipe closes: after kill -9, too."""

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
            self._gone()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor drops its readers at its own end, or it saw the pipe's."""
        self._gone()

    def _gone(self) -> None:
        self._reactor.removeReader(self)
        try:
            self._reactor.stop()
        except ReactorNotRunning:
            return  # it stops already
        self._log.error("the supervisor is gone: stopping")
