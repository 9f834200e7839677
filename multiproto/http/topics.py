"""Routes of topics: publish to one, follow a pattern of them as server-sent events, or ask what one may."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.errors import Fault, Invalid
from ..core.feed import Feed
from ..core.hub import Hub, Line
from ..core.publishing import Publisher
from ..core.rules import SUBSCRIBE
from .answers import Answer
from .call import Call, Route
from .events import EventStream, weigh


@define(eq=False, repr=False)
class TopicRoutes:
    _publisher: Publisher
    _hub: Hub
    _line: Line  # that event streams count on
    _clock: IReactorTime

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/topics/:topic", self.publish, for_credentials=True),
            Route("GET", "/topics/:pattern/events", self.follow, for_credentials=True, whole=False),
            Route("GET", "/topics/:topic/explain", self.explain, for_credentials=True),
        ]

    async def publish(self, call: Call, topic: str) -> Answer:
        who, fields = await call.identity(), call.fields()
        metadata, faults = fields.get("metadata"), []
        if "data" not in fields:
            faults.append(Fault(("data",), "Required"))
        if metadata is not None and not isinstance(metadata, dict):
            faults.append(Fault(("metadata",), "Must be an object"))
        if faults:
            raise Invalid(faults)
        published = await self._publisher.publish(
            who, topic, fields["data"], metadata, key=call.header("idempotency-key")
        )
        self._line.traffic.published()
        accepted = {"id": published.publication.id}
        if published.cursor is not None:
            accepted["cursor"] = published.cursor
        return Answer(202, accepted, published.cursor)

    async def explain(self, call: Call, topic: str) -> Answer:
        """Whether the caller may, and why: their own standing only."""
        who, verb = await call.identity(), call.query().get("verb", SUBSCRIBE)
        return Answer(200, self._publisher.policy.explain(who, verb, topic))

    async def follow(self, call: Call, pattern: str) -> None:
        who = await call.identity()
        after = call.header("last-event-id") or call.query().get("after")
        feed = await Feed.open(self._hub, self._line, call.host, who, weigh, pattern, after)
        await EventStream(call.exchange, feed, self._clock).pour()
