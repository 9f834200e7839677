"""One HTTP request and the one answer to it, whole or as a stream of events."""

from __future__ import annotations

from typing import Sequence

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request

from ...base import strict_json
from ...base.sse import KEEP_ALIVE, format_comment, format_event
from ...core.errors import InternalError, Unavailable
from ...core.protocol import CloseReason, Farewell, Ping
from ..execution.errors import FormattedError, format_refusal
from ..execution.subscriptions import Payload, ResponseStream
from .flow_control import FlowControl
from .negotiation import EVENT_STREAM_TYPE, GRAPHQL_RESPONSE_TYPE, JSON_TYPE, parse_accept, select_media_type

# Endings that connecting again with `after` can't mend.  At any other the stream stops without
# `complete`, and a client of graphql-sse tries again.
FINAL_REASONS = (CloseReason.TOKEN_EXPIRED, CloseReason.REVOKED)
UNAUTHORIZED_EXTENSIONS = {"code": "UNAUTHORIZED", "status": 401}


@define(eq=False, repr=False)
class GraphQLHttpResponse:
    request: Request
    accepted_types: Sequence[str] = field(init=False)  # media types, the most wanted first
    _disconnected: bool = False  # the client hung up
    _streaming: bool = False  # the answer has begun, as events
    _on_disconnect: Deferred[None] = Factory(Deferred)
    _flow_control: FlowControl = Factory(FlowControl)

    def __attrs_post_init__(self) -> None:
        self.accepted_types = parse_accept(self.request.getHeader("accept"))
        self.request.notifyFinish().addErrback(self._on_connection_lost)

    @property
    def media_type(self) -> str:
        return select_media_type(self.accepted_types)

    def send(self, status: int, content_type: str, body: bytes) -> None:
        if not self._disconnected:
            self.request.setResponseCode(status)
            self.request.setHeader("Content-Type", f"{content_type}; charset=utf-8")
            self.request.setHeader("Content-Length", str(len(body)))
            self.request.setHeader("Cache-Control", "no-store")
            self.request.write(body)
            self.request.finish()

    def send_json(self, status: int, value: object) -> None:
        self.send(
            status,
            GRAPHQL_RESPONSE_TYPE if self.media_type == GRAPHQL_RESPONSE_TYPE else JSON_TYPE,
            strict_json.dumps(value),
        )

    def send_errors(self, status: int, errors: Sequence[FormattedError]) -> None:
        self.send_json(status, {"errors": errors})

    # As graphql-sse wants it, in its "distinct connections mode".

    def send_single_event(self, payload: Payload) -> None:
        """One result and no more."""
        self._start_event_stream()
        self._write_next_event(payload)
        self._end_event_stream(complete=True)

    async def send_stream(self, stream: ResponseStream) -> None:
        """All that `stream` gives, until it ends or the client hangs up."""
        self._on_disconnect.addCallback(lambda _: stream.close())
        self._start_event_stream()
        try:
            while (payload := await stream.next()) is not None:
                await self._flow_control.wait_until_writable()
                if isinstance(payload, Ping):
                    self._write(KEEP_ALIVE)
                else:
                    self._write_next_event(payload)
        finally:
            stream.close()
        if stream.farewell is not None:
            self._send_farewell(stream.farewell)

    def _send_farewell(self, why: Farewell) -> None:
        final = why.reason in FINAL_REASONS
        if why.reason is CloseReason.SLOW_CONSUMER and why.cursor is not None:
            self._write_next_event(
                {"errors": [format_refusal(Unavailable(why.message, {"cursor": why.cursor}))]}
            )
        if final:
            self._write_next_event(
                {"errors": [{"message": why.message, "extensions": UNAUTHORIZED_EXTENSIONS}]}
            )
        else:
            self._write(format_comment(why.message.encode()))
        self._end_event_stream(complete=final)

    def send_internal_error(self) -> None:
        """A bug of ours: an answer that has not begun says so."""
        if self._streaming:
            self._end_event_stream(complete=False)
        else:
            self.send_errors(500, [format_refusal(InternalError())])

    def _start_event_stream(self) -> None:
        if not self._disconnected:
            self.request.setHeader("Content-Type", f"{EVENT_STREAM_TYPE}; charset=utf-8")
            self.request.setHeader("Cache-Control", "no-store")
            self.request.setHeader("X-Accel-Buffering", "no")  # a proxy is not to wait for more
            self.request.registerProducer(self._flow_control, True)
            self._streaming = True
        self._write(KEEP_ALIVE)  # sends the head: a browser takes the stream for open only then

    def _write_next_event(self, payload: Payload) -> None:
        self._write(format_event(b"next", strict_json.dumps(payload)))

    def _end_event_stream(self, complete: bool) -> None:
        if complete:
            self._write(format_event(b"complete", b""))
        if not self._disconnected:
            self.request.unregisterProducer()
            self.request.finish()

    def _write(self, data: bytes) -> None:
        if not self._disconnected:
            self.request.write(data)

    def _on_connection_lost(self, reason: Failure) -> None:
        self._disconnected = True
        self._flow_control.resumeProducing()
        self._on_disconnect.callback(None)
