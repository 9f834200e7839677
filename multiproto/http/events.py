"""A subscription as server-sent events (HTML standard, section 9.2)."""

from __future__ import annotations

from typing import Mapping

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from .. import jsontext
from ..core.feed import Feed
from ..core.model import timestamp
from ..core.wire import CaughtUp, Delivery, Farewell, Ping, Subscribed
from .request import Request

RETRY = 3000  # milliseconds that a client should wait before it comes back
DRAIN_WITHIN = 30.0  # seconds that a client may take none of what was written

_KEEP_ALIVE = b":\n\n"


@implementer(IPushProducer)
@define(eq=False, repr=False)
class EventStream:
    """Writes what `feed` hears as fast as the client takes it; what it does not take, the session bounds."""

    _request: Request
    _feed: Feed
    _clock: IReactorTime
    _clogged: bool = False
    _drained: Deferred[None] | None = None

    async def pour(self) -> None:
        """Until the session ends or the client leaves."""
        try:
            self._begin()
            if self._request.method != b"HEAD":
                await self._pour()
        finally:
            self._feed.leave()
            if self._request.channel is not None:
                self._request.unregisterProducer()

    def _begin(self) -> None:
        request = self._request
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")  # nginx would hold events back
        request.registerProducer(self, True)
        request.write(_subscribed(self._feed.subscribed))

    async def _pour(self) -> None:
        while True:
            await self._room()
            match await self._feed.next():
                case Delivery() as delivery:
                    self._request.write(encode(delivery))
                case CaughtUp() as caught_up:
                    self._request.write(_caught_up(caught_up))
                case Ping():
                    self._request.write(_KEEP_ALIVE)
                case None:
                    assert self._feed.farewell is not None
                    self._request.write(_farewell(self._feed.farewell))
                    return

    async def _room(self) -> None:
        """Wait until the client takes more; cut one that does not."""
        if not self._clogged:
            return
        cut: IDelayedCall = self._clock.callLater(DRAIN_WITHIN, self._request.connection.abort)
        self._drained = Deferred()
        try:
            await self._drained
        finally:
            self._drained = None
            if cut.active():
                cut.cancel()

    # The transport calls these, through the channel.

    def pauseProducing(self) -> None:
        self._clogged = True

    def resumeProducing(self) -> None:
        self._clogged = False
        if self._drained is not None:
            self._drained.callback(None)

    def stopProducing(self) -> None:
        """The client left; the request tells `pour` so itself."""


def encode(delivery: Delivery) -> bytes:
    """Once for all streams that hear it."""
    event = delivery.encoded.get(EventStream)
    if event is None:
        shown: dict[str, object] = {
            "topic": delivery.topic,
            "data": delivery.content,
            "metadata": delivery.metadata,
            "timestamp": timestamp(delivery.at),
        }
        marks = ("id", delivery.id), ("cursor", delivery.cursor), ("replay", delivery.replay)
        for name, value in marks:
            if value is not None:
                shown[name] = value
        event = delivery.encoded[EventStream] = _event("message", shown, delivery.cursor)
    return event


def weigh(delivery: Delivery) -> int:
    return len(encode(delivery))


def _subscribed(subscribed: Subscribed) -> bytes:
    shown: dict[str, object] = {"topic": subscribed.pattern, "retention": subscribed.retention}
    if subscribed.cursor is not None:
        shown["cursor"] = subscribed.cursor
    if subscribed.recovered is not None:
        shown["recovered"] = subscribed.recovered
    if subscribed.scope is not None:
        shown["scope"] = subscribed.scope
    return _event("subscribed", shown, subscribed.cursor)


def _caught_up(said: CaughtUp) -> bytes:
    return _event("caught_up", {"topic": said.pattern, "cursor": said.cursor}, said.cursor)


def _farewell(farewell: Farewell) -> bytes:
    shown: dict[str, object] = {"reason": farewell.why.value, "message": farewell.message}
    if farewell.cursor is not None:
        shown["cursor"] = farewell.cursor
    return b"retry: %d\n" % RETRY + _event("farewell", shown, None)


def _event(name: str, data: Mapping[str, object], id: str | None) -> bytes:
    """One event; JSON has no line ends, so its data is one line."""
    lines = [b"event: " + name.encode("ascii")]
    if id is not None:
        lines.append(b"id: " + id.encode("ascii"))
    lines.append(b"data: " + jsontext.dumps(data))
    return b"\n".join(lines) + b"\n\n"
