"""Routes of topics: publish to one, follow a pattern of them as server-sent events, or ask what one may."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ...core.connections.admission import Admission
from ...core.connections.hub import Hub
from ...core.connections.stream import SubscriptionStream
from ...core.errors import FieldError, ValidationError
from ...core.pubsub.permissions import SUBSCRIBE
from ...core.pubsub.publisher import Publisher
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route
from ..sse import EventStream, event_size


@define(eq=False, repr=False)
class TopicRoutes:
    _publisher: Publisher
    _hub: Hub
    _admission: Admission  # that event streams count on
    _clock: IReactorTime

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/topics/:topic", self.publish, auth=Auth.SCOPED),
            Route("GET", "/topics/:pattern/events", self.stream_events, auth=Auth.SCOPED),
            Route("GET", "/topics/:topic/explain", self.explain, auth=Auth.SCOPED),
        ]

    async def publish(self, call: RequestContext, topic: str) -> JsonResponse:
        fields = call.body_fields()
        metadata, faults = fields.get("metadata"), []
        if "data" not in fields:
            faults.append(FieldError(("data",), "Required"))
        if metadata is not None and not isinstance(metadata, dict):
            faults.append(FieldError(("metadata",), "Must be an object"))
        if faults:
            raise ValidationError(faults)
        published = await self._publisher.publish(
            call.identity, topic, fields["data"], metadata, key=call.header("idempotency-key")
        )
        self._admission.stats.record_published()
        accepted = {"id": published.publication.id}
        if published.cursor is not None:
            accepted["cursor"] = published.cursor
        return JsonResponse(202, accepted, published.cursor)

    async def explain(self, call: RequestContext, topic: str) -> JsonResponse:
        """Whether the caller may, and why: their own standing only."""
        verb = call.query_params().get("verb", SUBSCRIBE)
        return JsonResponse(200, self._publisher.policy.explain(call.identity, verb, topic))

    async def stream_events(self, call: RequestContext, pattern: str) -> None:
        after = call.header("last-event-id") or call.query_params().get("after")
        feed = await SubscriptionStream.open(
            self._hub, self._admission, call.client_address, call.identity, event_size, pattern, after
        )
        await EventStream(call.http_request, feed, self._clock).run()
