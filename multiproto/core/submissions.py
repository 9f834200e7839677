"""What one peer publishes: submitted one behind the other, acknowledged in that order."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine

from attrs import Factory, define
from twisted.python.failure import Failure

from ..base.coroutines import start_eagerly
from ..observe.traffic import ProtocolStats
from .outstanding import InFlightReplies, ReplyCallback
from .ports import Identity
from .publishing import Publisher
from .wire import Accepted, Publish, Reply


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
