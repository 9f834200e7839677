"""What a peer has said and was not yet obeyed: in order, and bounded by reading no more."""

from __future__ import annotations

from attrs import Factory, define

from .intake import Intake
from .limits import Limits
from .wire import Command

FULL = "inbox"  # why the peer is not read


@define(eq=False, repr=False)
class Inbox:
    _intake: Intake
    _limits: Limits
    _waiting: list[tuple[Command, int]] = Factory(list)  # with sizes in bytes
    _bytes: int = 0
    _paused: bool = False  # we asked for the peer to be read no more

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, command: Command, size: int) -> None:
        self._waiting.append((command, size))
        self._bytes += size

    def take(self) -> Command:
        """The oldest.  Reading goes on once half of the bound is free again."""
        command, size = self._waiting.pop(0)
        self._bytes -= size
        if self._paused and not self._holds(2):
            self._paused = False
            self._intake.release(FULL)
        return command

    def bound(self) -> None:
        """Stop the reading if too much waits."""
        if not self._paused and self._holds(1):
            self._paused = True
            self._intake.hold(FULL)

    def clear(self) -> None:
        self._waiting.clear()
        self._bytes = 0

    def _holds(self, divisor: int) -> bool:
        """Whether that part of the bound, or more, is taken."""
        limits = self._limits
        return len(self._waiting) >= limits.inbox // divisor or self._bytes >= limits.inbox_bytes // divisor
