"""One HTTP request and the one answer to it, whole or as a stream of events."""

from __future__ import annotations

from typing import Sequence

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request

from .. import jsontext
from ..core.errors import Internal, Unavailable
from ..core.wire import Farewell, Ping, Why
from .execute import Payload, Stream
from .faults import Formatted, refused
from .negotiate import EVENTS, JSON, RESPONSE, accepted, preferred
from .valve import Valve

# Endings that connecting again with `after` can't mend.  At any other the stream stops without
# `complete`, and a client of graphql-sse tries again.
FINAL = (Why.EXPIRED, Why.REVOKED)
UNAUTHORIZED = {"code": "UNAUTHORIZED", "status": 401}


@define(eq=False, repr=False)
class Exchange:
    request: Request
    wanted: Sequence[str] = field(init=False)  # media types, the most wanted first
    _gone: bool = False  # the client hung up
    _streaming: bool = False  # the answer has begun, as events
    _on_gone: Deferred[None] = Factory(Deferred)
    _valve: Valve = Factory(Valve)

    def __attrs_post_init__(self) -> None:
        self.wanted = accepted(self.request.getHeader("accept"))
        self.request.notifyFinish().addErrback(self._lost)

    @property
    def media(self) -> str:
        return preferred(self.wanted)

    def say(self, status: int, content_type: str, body: bytes) -> None:
        if not self._gone:
            self.request.setResponseCode(status)
            self.request.setHeader("Content-Type", f"{content_type}; charset=utf-8")
            self.request.setHeader("Content-Length", str(len(body)))
            self.request.setHeader("Cache-Control", "no-store")
            self.request.write(body)
            self.request.finish()

    def say_json(self, status: int, value: object) -> None:
        self.say(status, RESPONSE if self.media == RESPONSE else JSON, jsontext.dumps(value))

    def decline(self, status: int, errors: Sequence[Formatted]) -> None:
        self.say_json(status, {"errors": errors})

    # As graphql-sse wants it, in its "distinct connections mode".

    def say_events(self, payload: Payload) -> None:
        """One result and no more."""
        self._begin_events()
        self._next(payload)
        self._end_events(complete=True)

    async def follow(self, stream: Stream) -> None:
        """All that `stream` gives, until it ends or the client hangs up."""
        self._on_gone.addCallback(lambda _: stream.leave())
        self._begin_events()
        try:
            while (payload := await stream.next()) is not None:
                await self._valve.opened()
                if isinstance(payload, Ping):
                    self._write(b":\n\n")  # a comment, so that nobody takes the silence for an end
                else:
                    self._next(payload)
        finally:
            stream.leave()
        if stream.farewell is not None:
            self._say_farewell(stream.farewell)

    def _say_farewell(self, why: Farewell) -> None:
        final = why.why in FINAL
        if why.why is Why.SLOW and why.cursor is not None:
            self._next({"errors": [refused(Unavailable(why.message, {"cursor": why.cursor}))]})
        if final:
            self._next({"errors": [{"message": why.message, "extensions": UNAUTHORIZED}]})
        else:
            self._write(b": " + why.message.encode() + b"\n\n")
        self._end_events(complete=final)

    def break_off(self) -> None:
        """A bug of ours: an answer that has not begun says so."""
        if self._streaming:
            self._end_events(complete=False)
        else:
            self.decline(500, [refused(Internal())])

    def _begin_events(self) -> None:
        if not self._gone:
            self.request.setHeader("Content-Type", f"{EVENTS}; charset=utf-8")
            self.request.setHeader("Cache-Control", "no-store")
            self.request.setHeader("X-Accel-Buffering", "no")  # a proxy is not to wait for more
            self.request.registerProducer(self._valve, True)
            self._streaming = True
        self._write(b":\n\n")  # sends the head: a browser takes the stream for open only then

    def _next(self, payload: Payload) -> None:
        self._write(b"event: next\ndata: " + jsontext.dumps(payload) + b"\n\n")

    def _end_events(self, complete: bool) -> None:
        if complete:
            self._write(b"event: complete\ndata: \n\n")
        if not self._gone:
            self.request.unregisterProducer()
            self.request.finish()

    def _write(self, data: bytes) -> None:
        if not self._gone:
            self.request.write(data)

    def _lost(self, reason: Failure) -> None:
        self._gone = True
        self._valve.resumeProducing()
        self._on_gone.callback(None)
