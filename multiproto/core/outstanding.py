"""Work that was submitted and is answered in its order, however it completes."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed

from .wire import Reply

ReplyCallback = Callable[[Reply | None], None]


@define(eq=False, repr=False)
class _InFlightReply:
    on_reply: ReplyCallback
    reply: Reply | None = None
    done: bool = False


@define(eq=False, repr=False)
class InFlightReplies:
    _queue: list[_InFlightReply] = Factory(list)
    _waiter: tuple[int, Deferred[None]] | None = None  # who waits for fewer than that many

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, work: Deferred[Reply | None] | Reply | None, answer: ReplyCallback) -> None:
        """Call `on_reply` with what `work` gives or gave, once all that was added before is answered."""
        if not isinstance(work, Deferred):
            if not self._queue:
                return answer(work)
            work = succeed(work)
        pending = _InFlightReply(answer)
        self._queue.append(pending)
        work.addCallback(self._on_completed, pending)

    async def wait_until_below(self, count: int) -> None:
        """Return once fewer than `count` are unanswered.  One may wait at a time."""
        if len(self._queue) >= count:
            self._waiter = count, Deferred()
            await self._waiter[1]

    def _on_completed(self, reply: Reply | None, pending: _InFlightReply) -> None:
        pending.reply, pending.done = reply, True
        while self._queue and self._queue[0].done:
            first = self._queue.pop(0)
            first.on_reply(first.reply)
        if self._waiter and len(self._queue) < self._waiter[0]:
            (_, waiting), self._waiter = self._waiter, None
            waiting.callback(None)
