"""Programs run beside a test: started, read line by line, and never left behind."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from tests import canary

from .clients import Inbox

ROOT = Path(__file__).parent.parent.parent


class Program(ProcessProtocol):
    """`lines` has what it prints, `ended` fires with its exit status; all else it said is in `errors`."""

    hands_out = False  # a secret, on purpose: it is a client's program

    def __init__(self) -> None:
        self.lines = Inbox()
        self.ended: Deferred[int] = Deferred()
        self.errors = b""
        self.said = b""
        self._line = b""

    @classmethod
    def start(cls, *command: str, **environment: str) -> Program:
        program = cls()
        reactor.spawnProcess(  # type: ignore[attr-defined]
            program,
            command[0],
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            path=str(ROOT),
        )
        return program

    @classmethod
    def python(cls, *command: str, **environment: str) -> Program:
        return cls.start(sys.executable, *command, **environment)

    async def next(self) -> Any:
        """The next line it prints, as JSON."""
        return json.loads(await self.lines.next())

    def signal(self, name: str | int) -> None:
        self.transport.signalProcess(name)  # type: ignore[union-attr]

    async def kill(self) -> None:
        """For a test's clean-up."""
        if not self.ended.called:
            with suppress(ProcessExitedAlready):  # and its pipes are not closed yet
                self.signal("KILL")
            await self.ended

    def outReceived(self, data: bytes) -> None:
        self.said += data
        *whole, self._line = (self._line + data).split(b"\n")
        for line in whole:
            self.lines.put(line)

    def errReceived(self, data: bytes) -> None:
        self.errors += data

    def processEnded(self, reason: Failure) -> None:
        status: Any = reason.value
        if not self.hands_out:
            canary.look("output of a program", (self.said + self.errors).decode(errors="replace"))
        self.ended.callback(status.exitCode if status.exitCode is not None else -status.signal)
