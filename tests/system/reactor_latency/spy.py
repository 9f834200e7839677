"""Runs in the server's process, before the server: notes each long turn of its reactor, and what it was spent on.

Counted is the CPU of the reactor's thread, so that a machine with other work to do looks no worse.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any, Callable

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor

from multiproto.reactor.epoll import BoundedEpollReactor

FILE = "STALLS_FILE"  # names where it is noted, in the environment
LONG = 0.01  # seconds

Doing = Callable[..., Any]


class Spy:
    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115  # for as long as the process lives
        self._longest = 0.0  # of the parts of this turn
        self._what = ""

    def part(self, name: Callable[[], str], doing: Doing, *args: Any, **named: Any) -> Any:
        began = time.thread_time()
        try:
            return doing(*args, **named)
        finally:
            taken = time.thread_time() - began
            if taken > self._longest:
                self._longest, self._what = taken, name()

    def turn(self, doing: Doing, *args: Any) -> Any:
        self._longest, self._what = 0.0, ""
        began = time.thread_time()
        try:
            return doing(*args)
        finally:
            taken = time.thread_time() - began
            if taken > LONG:
                note = {"turn": taken, "longest": self._longest, "what": self._what}
                print(json.dumps(note), file=self._file)


def _name(function: Any) -> str:
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__qualname__", function))


def watch() -> None:
    spy = Spy(os.environ[FILE])
    later, calls, io = ReactorBase.callLater, ReactorBase.runUntilCurrent, EPollReactor._doReadOrWrite

    def call_later(self: Any, delay: float, function: Doing, *args: Any, **named: Any) -> Any:
        def called(*args: Any, **named: Any) -> Any:
            return spy.part(lambda: _name(function), function, *args, **named)

        return later(self, delay, called, *args, **named)

    def read_or_write(self: Any, selectable: Any, *rest: Any) -> Any:
        return spy.part(lambda: type(selectable).__name__, io, self, selectable, *rest)

    changed: Any = EPollReactor
    changed.callLater = call_later
    changed._doReadOrWrite = read_or_write
    changed.runUntilCurrent = lambda self: spy.turn(calls, self)
    for kind in (EPollReactor, BoundedEpollReactor):
        polls: Any = kind
        polls.doPoll = polls.doIteration = _watched(spy, polls.doPoll)


def _watched(spy: Spy, poll: Doing) -> Doing:
    return lambda self, timeout: spy.turn(poll, self, timeout)
