"""Work that was submitted and is answered in its order, however it completes."""

from __future__ import annotations

from typing import Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed

from .wire import Reply

Answer = Callable[[Reply | None], None]


@define(eq=False, repr=False)
class _Pending:
    answer: Answer
    reply: Reply | None = None
    done: bool = False


@define(eq=False, repr=False)
class Outstanding:
    _queue: list[_Pending] = Factory(list)
    _waiting: tuple[int, Deferred[None]] | None = None  # who waits for fewer than that many

    def __bool__(self) -> bool:
        return bool(self._queue)

    def add(self, work: Deferred[Reply | None] | Reply | None, answer: Answer) -> None:
        """Call `answer` with what `work` gives or gave, once all that was added before is answered."""
        if not isinstance(work, Deferred):
            if not self._queue:
                return answer(work)
            work = succeed(work)
        pending = _Pending(answer)
        self._queue.append(pending)
        work.addCallback(self._settle, pending)

    async def below(self, count: int) -> None:
        """Return once fewer than `count` are unanswered.  One may wait at a time."""
        if len(self._queue) >= count:
            self._waiting = count, Deferred()
            await self._waiting[1]

    def _settle(self, reply: Reply | None, pending: _Pending) -> None:
        pending.reply, pending.done = reply, True
        while self._queue and self._queue[0].done:
            first = self._queue.pop(0)
            first.answer(first.reply)
        if self._waiting and len(self._queue) < self._waiting[0]:
            (_, waiting), self._waiting = self._waiting, None
            waiting.callback(None)
