"""Routes of topics: publish, subscribe by server-sent events, and explain what the policy allows."""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ...core.connections.admission import Admission
from ...core.connections.hub import Hub
from ...core.connections.stream import SubscriptionStream
from ...core.pubsub.permissions import SUBSCRIBE
from ...core.pubsub.publisher import Publisher
from ...core.pubsub.topics import check_pattern
from ...core.validation import FieldValidator
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route
from ..sse import EventStream, event_size


@define(eq=False, repr=False)
class TopicRoutes:
    _publisher: Publisher
    _hub: Hub
    _admission: Admission  # of event streams
    _clock: IReactorTime

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/topics/:topic", self.publish, auth=Auth.SCOPED),
            Route("GET", "/topics/:pattern/events", self.stream_events, auth=Auth.SCOPED),
            Route("GET", "/topics/:topic/explain", self.explain, auth=Auth.SCOPED),
        ]

    async def publish(self, context: RequestContext, topic: str) -> JsonResponse:
        form = FieldValidator(context.body_fields())
        data, metadata = form.json("data"), form.optional_object("metadata")
        form.expect_idempotency_header()
        form.check()
        published = await self._publisher.publish(
            context.identity, topic, data, metadata, key=context.idempotency_key()
        )
        self._admission.stats.record_published()
        accepted = {"id": published.publication.id}
        if published.cursor is not None:
            accepted["cursor"] = published.cursor
        return JsonResponse(202, accepted, published.cursor)

    async def explain(self, context: RequestContext, topic: str) -> JsonResponse:
        """Whether the policy allows the caller to use `topic`, and why."""
        form = FieldValidator(context.query_params())
        verb = form.optional_text("verb")
        form.check()
        decision = self._publisher.policy.explain(
            context.identity, SUBSCRIBE if verb is None else verb, topic
        )
        return JsonResponse(200, decision)

    async def stream_events(self, context: RequestContext, pattern: str) -> None:
        form = FieldValidator(context.query_params())
        after = form.optional_text("after")
        form.check()
        stream = await SubscriptionStream.open(
            self._hub,
            self._admission,
            context.client_address,
            context.identity,
            event_size,
            check_pattern(pattern, "pattern"),
            context.header("last-event-id") or after,
            limit_unsent=context.http_request.limit_unsent,
        )
        await EventStream(context.http_request, stream, self._clock).run()
