"""Work that was submitted and is answered in its order, however it completes."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ...base.coroutines import start_eagerly
from ...observe.protocol_stats import ProtocolStats
from ..identity import Identity
from ..protocol import Accepted, Publish, Reply
from ..pubsub.publisher import Publisher

# What one peer publishes: submitted one behind the other, acknowledged in that order.

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


@define(eq=False, repr=False)
class PublishWindow:
    """Nobody waits for one before the next is submitted: that would cost one disk sync per message."""

    _publisher: Publisher
    _stats: ProtocolStats
    _connection_id: str  # id of the session
    _in_flight: InFlightReplies = Factory(InFlightReplies)

    async def publish(self, who: Identity, command: Publish) -> Accepted | None:
        published = await self._publisher.publish(
            who,
            command.topic,
            command.content,
            command.metadata,
            self._connection_id,
            command.idempotency_key,
        )
        self._stats.record_published()
        return None if command.ref is None else Accepted(command.ref, published.cursor)

    @property
    def has_pending(self) -> bool:
        """Whether any is unanswered."""
        return bool(self._in_flight)

    def add(
        self,
        submitting: Coroutine[Any, Any, Reply | None],
        answer: ReplyCallback,
        broken: Callable[[Failure], None],
    ) -> None:
        """Begin with it, and call `answer` with what becomes of it in its turn."""
        self._in_flight.add(start_eagerly(submitting, broken), answer)

    def wait_until_below(self, count: int) -> Awaitable[None]:
        """Returns once fewer than `count` are unanswered."""
        return self._in_flight.wait_until_below(count)
