"""Sends a subscription as server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

from typing import Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from ..base import strict_json
from ..base.flow_control import FlowControl
from ..base.sse import KEEP_ALIVE, format_event
from ..base.timestamps import format_timestamp
from ..core.connections.stream import SubscriptionStream
from ..core.protocol import CaughtUp, Delivery, Farewell, Ping, Subscribed
from .request import HttpRequest

RETRY_DELAY = 3000  # milliseconds that a client should wait before it reconnects


@define(eq=False, repr=False)
class EventStream:
    """Writes the deliveries of a subscription as fast as the client reads; the stream bounds its queue."""

    _request: HttpRequest
    _subscription: SubscriptionStream
    _clock: IReactorTime
    _flow_control: FlowControl = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flow_control = FlowControl(self._clock, self._request.abort)

    async def run(self) -> None:
        """Write events until the subscription ends or the client disconnects."""
        try:
            self._start_response()
            if self._request.method != b"HEAD":
                await self._write_events()
        finally:
            self._subscription.unsubscribe()
            if not self._request.is_disconnected:
                self._request.unregisterProducer()

    def _start_response(self) -> None:
        request = self._request
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")  # nginx would buffer events
        request.registerProducer(self._flow_control, True)
        request.write(_encode_subscribed(self._subscription.subscribed))

    async def _write_events(self) -> None:
        while True:
            await self._flow_control.wait_until_writable()
            match await self._subscription.next():
                case Delivery() as delivery:
                    self._request.write(encode_delivery(delivery))
                case CaughtUp() as caught_up:
                    self._request.write(_encode_caught_up(caught_up))
                case Ping():
                    self._request.write(KEEP_ALIVE)
                case None:
                    assert self._subscription.farewell is not None
                    self._request.write(_encode_farewell(self._subscription.farewell))
                    return


def encode_delivery(delivery: Delivery) -> bytes:
    """The event of `delivery`, encoded once for all streams that receive it."""
    event = delivery.encoded.get(EventStream)
    if event is None:
        fields: dict[str, object] = {
            "topic": delivery.topic,
            "data": strict_json.splice(delivery.content, delivery.encoded_content),
            "metadata": delivery.metadata,
            "timestamp": format_timestamp(delivery.accepted_at),
        }
        optional = ("id", delivery.id), ("cursor", delivery.cursor), ("replay", delivery.replay_pattern)
        for name, value in optional:
            if value is not None:
                fields[name] = value
        event = delivery.encoded[EventStream] = _encode_event("message", fields, delivery.cursor)
    return event


def event_size(delivery: Delivery) -> int:
    return len(encode_delivery(delivery))


def _encode_subscribed(subscribed: Subscribed) -> bytes:
    fields: dict[str, object] = {"topic": subscribed.pattern, "retention": subscribed.retention}
    if subscribed.cursor is not None:
        fields["cursor"] = subscribed.cursor
    if subscribed.recovered is not None:
        fields["recovered"] = subscribed.recovered
    if subscribed.scope is not None:
        fields["scope"] = subscribed.scope
    if subscribed.warning is not None:
        fields["warning"] = subscribed.warning
    return _encode_event("subscribed", fields, subscribed.cursor)


def _encode_caught_up(caught_up: CaughtUp) -> bytes:
    fields = {"topic": caught_up.pattern, "cursor": caught_up.cursor}
    return _encode_event("caught_up", fields, caught_up.cursor)


def _encode_farewell(farewell: Farewell) -> bytes:
    fields: dict[str, object] = {"reason": farewell.reason.value, "message": farewell.message}
    if farewell.cursor is not None:
        fields["cursor"] = farewell.cursor
    return b"retry: %d\n" % RETRY_DELAY + _encode_event("farewell", fields, None)


def _encode_event(name: str, data: Mapping[str, object], id: str | None) -> bytes:
    encoded_id = None if id is None else id.encode("ascii")
    return format_event(name.encode("ascii"), strict_json.dumps(data), encoded_id)
