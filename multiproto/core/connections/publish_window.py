"""The publications of one connection that are in flight: submitted without waiting, acknowledged in order."""

from __future__ import annotations

from typing import Awaitable, Callable

from attrs import Factory, define
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from ...base.coroutines import start_eagerly
from ...base.waiters import Waiters
from ...observe.protocol_stats import ProtocolStats
from ..identity import Identity
from ..protocol import Accepted, Command, ErrorReply, Publish, Reply
from ..pubsub.publisher import Publisher

ReplyCallback = Callable[[Reply | None], None]


@define(eq=False, repr=False)
class _InFlightReply:
    on_reply: ReplyCallback
    reply: Reply | None = None
    done: bool = False


@define(eq=False, repr=False)
class InFlightReplies:
    """Passes on replies in the order in which their commands were added, in whatever order they complete."""

    _queue: list[_InFlightReply] = Factory(list)
    _waiters: Waiters[None] | None = None  # for a reply; made for the first: most connections never have one

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, work: Deferred[Reply | None] | Reply | None, on_reply: ReplyCallback) -> None:
        """Call `on_reply` with the result of `work`, once all that was added before has its reply."""
        if not isinstance(work, Deferred):
            if not self._queue:
                return on_reply(work)
            work = succeed(work)
        pending = _InFlightReply(on_reply)
        self._queue.append(pending)
        work.addCallback(self._on_completed, pending)

    async def wait_until_below(self, count: int) -> None:
        """Return once fewer than `count` are in flight."""
        while len(self._queue) >= count:
            if self._waiters is None:
                self._waiters = Waiters()
            await self._waiters.wait()

    def _on_completed(self, reply: Reply | None, pending: _InFlightReply) -> None:
        pending.reply, pending.done = reply, True
        while self._queue and self._queue[0].done:
            first = self._queue.pop(0)
            first.on_reply(first.reply)
        if self._waiters is not None:
            self._waiters.release(None)


@define(eq=False, repr=False)
class PublishWindow:
    """Waiting for each acknowledgement before the next publication would cost one disk sync per message."""

    _publisher: Publisher
    _stats: ProtocolStats
    _connection_id: str
    _in_flight: InFlightReplies = Factory(InFlightReplies)

    @property
    def in_flight(self) -> int:
        """How many are."""
        return len(self._in_flight)

    def wait_until_below(self, count: int) -> Awaitable[None]:
        """Return once fewer than `count` are in flight."""
        return self._in_flight.wait_until_below(count)

    def submit(
        self,
        identity: Identity,
        command: Publish,
        on_reply: ReplyCallback,
        error_reply: Callable[[Command, Exception], ErrorReply],
        on_failure: Callable[[Failure], None],
    ) -> None:
        """Start to publish, and call `on_reply` with the reply in its turn: `error_reply`'s, where it is refused."""
        publishing = self._publish(identity, command, error_reply)
        self._in_flight.add(start_eagerly(publishing, on_failure), on_reply)

    async def _publish(
        self, identity: Identity, command: Publish, error_reply: Callable[[Command, Exception], ErrorReply]
    ) -> Reply | None:
        try:
            published = await self._publisher.publish(
                identity,
                command.topic,
                command.content,
                command.metadata,
                self._connection_id,
                command.idempotency_key,
                is_charged=True,
            )
        except Exception as error:
            return error_reply(command, error)
        self._stats.record_published()
        return None if command.ref is None else Accepted(command.ref, published.cursor)
