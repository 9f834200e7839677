"""A peer's commands that wait to be processed: in order, and bounded by pausing the reading."""

from __future__ import annotations

from attrs import Factory, define

from ..protocol import Command
from .admission import ConnectionLimits
from .read_throttle import ReadThrottle

QUEUE_FULL = "queue"  # reason to pause the reading
LARGE_COMMAND = (
    64 * 1024
)  # bytes as it was sent; of such JSON, what it is parsed to may have twenty times as many


@define(eq=False, repr=False)
class CommandQueue:
    _read_throttle: ReadThrottle
    _limits: ConnectionLimits
    _queue: list[tuple[Command, int]] = Factory(list)  # with sizes in bytes
    _bytes: int = 0
    _paused: bool = False  # the reading, by this queue

    def __bool__(self) -> bool:
        return bool(self._queue)

    def enqueue(self, command: Command, size: int) -> None:
        self._queue.append((command, size))
        self._bytes += size

    @property
    def begins_with_large(self) -> bool:
        """Whether the oldest command is one that holds much memory while it waits."""
        return bool(self._queue) and self._queue[0][1] >= LARGE_COMMAND

    def dequeue(self) -> Command:
        """Remove the oldest command.  The reading resumes once the queue is less than half full."""
        command, size = self._queue.pop(0)
        self._bytes -= size
        if self._paused and not self._reaches_limit(2):
            self._paused = False
            self._read_throttle.resume(QUEUE_FULL)
        return command

    def pause_if_full(self) -> None:
        """Pause the reading if the queue has reached its limit."""
        if not self._paused and self._reaches_limit(1):
            self._paused = True
            self._read_throttle.pause(QUEUE_FULL)

    def clear(self) -> None:
        self._queue.clear()
        self._bytes = 0

    def _reaches_limit(self, divisor: int) -> bool:
        """Whether the queue has reached the limit divided by `divisor`, in number or in bytes."""
        limits = self._limits
        return (
            len(self._queue) >= limits.max_queued_commands // divisor
            or self._bytes >= limits.max_queued_command_bytes // divisor
        )
