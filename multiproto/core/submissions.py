"""What one peer publishes: submitted one behind the other, acknowledged in that order."""

from __future__ import annotations

from typing import Any, Awaitable, Coroutine

from attrs import Factory, define
from twisted.internet.defer import Deferred

from ..observe.traffic import Traffic
from .outstanding import Answer, Outstanding
from .ports import Identity
from .publishing import Publisher
from .wire import Accepted, Publish, Reply


@define(eq=False, repr=False)
class Submissions:
    """Nobody waits for one before the next is submitted: that would cost one disk sync per message."""

    _publisher: Publisher
    _traffic: Traffic
    _connection: str  # id of the session
    _outstanding: Outstanding = Factory(Outstanding)

    async def submit(self, who: Identity, command: Publish) -> Accepted | None:
        published = await self._publisher.publish(
            who, command.topic, command.content, command.metadata, self._connection, command.key
        )
        self._traffic.published()
        return None if command.ref is None else Accepted(command.ref, published.cursor)

    def add(self, submitting: Coroutine[Any, Any, Reply | None], answer: Answer) -> None:
        """Begin with it, and call `answer` with what becomes of it in its turn."""
        self._outstanding.add(Deferred.fromCoroutine(submitting), answer)

    def below(self, count: int) -> Awaitable[None]:
        """Returns once fewer than `count` are unanswered."""
        return self._outstanding.below(count)
