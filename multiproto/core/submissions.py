"""What one peer publishes: submitted one behind the other, acknowledged in that order."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Coroutine

from attrs import Factory, define
from twisted.python.failure import Failure

from ..observe.traffic import Traffic
from .outstanding import Answer, Outstanding
from .ports import Identity
from .publishing import Publisher
from .starting import start
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

    @property
    def pending(self) -> bool:
        """Whether any is unanswered."""
        return bool(self._outstanding)

    def add(
        self, submitting: Coroutine[Any, Any, Reply | None], answer: Answer, broken: Callable[[Failure], None]
    ) -> None:
        """Begin with it, and call `answer` with what becomes of it in its turn."""
        self._outstanding.add(start(submitting, broken), answer)

    def below(self, count: int) -> Awaitable[None]:
        """Returns once fewer than `count` are unanswered."""
        return self._outstanding.below(count)
