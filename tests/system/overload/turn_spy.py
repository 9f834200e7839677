"""Records each long turn of a server's reactor, and what it was spent on; runs in its process, before the server.

Counted is the CPU of the reactor's thread, so that a machine with other work to do looks no worse.
"""

from __future__ import annotations

import gc
import json
import os
import time
from typing import Any, Callable

from twisted.internet.base import ReactorBase
from twisted.internet.epollreactor import EPollReactor

from multiproto.reactor.epoll import BoundedEpollReactor

FILE = "TURNS_FILE"  # the environment variable that names the file to write to
LONG = 0.01  # seconds

Doing = Callable[..., Any]


class TurnRecorder:
    """Writes a line of JSON for each turn longer than `LONG`."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "a", buffering=1)  # noqa: SIM115  # for as long as the process lives
        self._longest = 0.0  # of the parts of this turn
        self._what = ""
        self._collection_began = 0.0

    def part(self, name: Callable[[], str], doing: Doing, *args: Any, **named: Any) -> Any:
        """Call `doing`, and remember it if it is the longest part of this turn."""
        began = time.thread_time()
        try:
            return doing(*args, **named)
        finally:
            self._note_part(time.thread_time() - began, name)

    def collection(self, phase: str, info: dict[str, int]) -> None:
        """Count a collection of garbage as a part of its turn; `gc.callbacks` calls this before and after each."""
        if phase == "start":
            self._collection_began = time.thread_time()
        else:
            taken = time.thread_time() - self._collection_began
            self._note_part(taken, lambda: f"garbage of generation {info['generation']}")

    def _note_part(self, taken: float, name: Callable[[], str]) -> None:
        if taken > self._longest:
            self._longest, self._what = taken, name()

    def turn(self, doing: Doing, *args: Any) -> Any:
        """Call `doing`, which is a turn: what is ready, or the calls that are due."""
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
    """Of the function itself, without what binds its arguments."""
    while hasattr(function, "func"):
        function = function.func
    return str(getattr(function, "__qualname__", function))


def watch() -> None:
    """Record the turns of the reactor that this process is going to install."""
    recorder = TurnRecorder(os.environ[FILE])
    gc.callbacks.append(recorder.collection)
    calls, io = ReactorBase.runUntilCurrent, EPollReactor._doReadOrWrite

    def recorded(schedule: Doing, before: int) -> Doing:
        """`schedule`, which is given `before` arguments and then a function, and records what the function takes."""

        def scheduled(self: Any, *arguments: Any, **named: Any) -> Any:
            function = arguments[before]

            def called(*args: Any, **named: Any) -> Any:
                return recorder.part(lambda: _name(function), function, *args, **named)

            return schedule(self, *arguments[:before], called, *arguments[before + 1 :], **named)

        return scheduled

    def read_or_write(self: Any, selectable: Any, *rest: Any) -> Any:
        return recorder.part(lambda: type(selectable).__name__, io, self, selectable, *rest)

    changed: Any = EPollReactor
    changed.callLater = recorded(ReactorBase.callLater, 1)
    changed.callFromThread = recorded(ReactorBase.callFromThread, 0)
    own: Any = BoundedEpollReactor
    for name in ("call_after_step", "call_before_poll"):
        setattr(own, name, recorded(getattr(own, name), 0))
    changed._doReadOrWrite = read_or_write
    changed.runUntilCurrent = lambda self: recorder.turn(calls, self)
    for kind in (EPollReactor, BoundedEpollReactor):
        polls: Any = kind
        polls.doPoll = polls.doIteration = _recorded(recorder, polls.doPoll)


def _recorded(recorder: TurnRecorder, poll: Doing) -> Doing:
    return lambda self, timeout: recorder.turn(poll, self, timeout)
