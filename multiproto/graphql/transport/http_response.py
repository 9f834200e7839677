"""The response to a GraphQL request over HTTP: whole, or as a stream of server-sent events."""

from __future__ import annotations

from math import ceil
from typing import Protocol, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ...base import strict_json
from ...base.flow_control import FlowControl
from ...base.sse import KEEP_ALIVE, format_comment, format_event
from ...core.errors import InternalError, Refusal, Unavailable
from ...core.protocol import CloseReason, Farewell, Ping
from ..execution.errors import FormattedError, format_refusal
from ..execution.subscriptions import Payload, ResponseStream
from .negotiation import EVENT_STREAM_TYPE, GRAPHQL_RESPONSE_TYPE, JSON_TYPE, parse_accept, select_media_type

# Reasons after which reconnecting with `after` is of no use.  At any other the stream stops without
# `complete`, and a client of graphql-sse reconnects.
FINAL_REASONS = (CloseReason.TOKEN_EXPIRED, CloseReason.REVOKED)
UNAUTHORIZED_EXTENSIONS = {"code": "UNAUTHORIZED", "status": 401}


class GraphQLHttpRequest(Protocol):
    """What `/graphql` uses of an HTTP request; `multiproto/http` has the class."""

    method: bytes
    args: dict[bytes, list[bytes]]
    postpath: list[bytes]

    @property
    def client_address(self) -> str: ...
    @property
    def turn_key(self) -> str: ...
    @property
    def is_disconnected(self) -> bool:
        """Whether the client has disconnected."""

    async def wait_for_turn(self, kind: str, first: bool) -> bool:
        """Return when the reactor has time for the client: whether it is still there."""

    async def count(self, user_id: str | None = None) -> None:
        """Count the request for the user who sent it, or else for its address, unless it was counted already.

        Raises `RateLimited`.
        """

    def first_header(self, name: bytes) -> bytes | None:
        """The first value of the header `name`, which is in lower case."""

    def joined_header(self, name: bytes) -> bytes | None:
        """The list in the header `name`, which is in lower case; it may have come in several lines."""

    def decoded_body(self) -> bytes:
        """The body without its content coding.  Raises a `Refusal`."""

    def setHeader(self, name: str, value: str) -> None: ...
    def send_whole(
        self, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]], content_type: bytes
    ) -> None:
        """Send the whole response in one write; nothing if the client has disconnected."""

    def limit_unsent(self, limited: bool) -> None:
        """Keep little on this side that the client has no room for."""

    def write(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def abort(self) -> None:
        """Drop the connection, with what was not sent yet."""

    def notifyFinish(self) -> Deferred[None]: ...
    def registerProducer(self, producer: FlowControl, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


NO_STORE = ((b"Cache-Control", b"no-store"),)


def header_text(request: GraphQLHttpRequest, name: bytes) -> str | None:
    value = request.first_header(name)
    return None if value is None else value.decode("utf-8", "replace")


@define(eq=False, repr=False)
class GraphQLHttpResponse:
    """Writes the response to one request, in the media type that it accepts."""

    request: GraphQLHttpRequest
    _clock: IReactorTime
    accepted_types: Sequence[str] = field(init=False)  # media types, the most preferred first
    _streaming: bool = False  # an event stream has begun
    _flow_control: FlowControl = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._flow_control = FlowControl(self._clock, self.request.abort)
        self.accepted_types = parse_accept(
            (self.request.joined_header(b"accept") or b"").decode("latin-1") or None
        )

    @property
    def media_type(self) -> str:
        return select_media_type(self.accepted_types)

    def send(self, status: int, content_type: str, body: bytes) -> None:
        self.request.send_whole(status, body, NO_STORE, f"{content_type}; charset=utf-8".encode())

    def send_json(self, status: int, value: object) -> None:
        self._send_json(status, strict_json.dumps(value))

    def send_batch(self, results: Sequence[bytes]) -> None:
        """Send an array of results, each of them JSON."""
        self._send_json(200, b"[%s]" % b",".join(results))

    def _send_json(self, status: int, body: bytes) -> None:
        media_type = GRAPHQL_RESPONSE_TYPE if self.media_type == GRAPHQL_RESPONSE_TYPE else JSON_TYPE
        self.send(status, media_type, body)

    def send_refusal(self, refusal: Refusal) -> None:
        """Answer a request that is not executed."""
        refusal.__traceback__ = None  # where it was awaited, its frames hold it: garbage in a circle
        if refusal.retry_after is not None:
            self.request.setHeader("Retry-After", f"{ceil(refusal.retry_after)}")
        self.send_errors(refusal.status, [format_refusal(refusal)])

    def send_errors(self, status: int, errors: Sequence[FormattedError]) -> None:
        self.send_json(status, {"errors": errors})

    # As graphql-sse specifies it, in its "distinct connections mode".

    def send_single_event(self, payload: Payload) -> None:
        """Send an event stream of one result."""
        self._start_event_stream()
        self._write_next_event(payload)
        self._end_event_stream(complete=True)

    async def send_stream(self, stream: ResponseStream) -> None:
        """Send the results of `stream` until it ends or the client disconnects; for HEAD, none."""
        if self.request.is_disconnected:  # while it subscribed: `notifyFinish` would never fire
            return stream.close()
        self.request.notifyFinish().addErrback(self._on_connection_lost, stream)
        self._start_event_stream()
        if self.request.method == b"HEAD":
            stream.close()
            return self._end_event_stream(complete=False)
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

    def _send_farewell(self, farewell: Farewell) -> None:
        final = farewell.reason in FINAL_REASONS
        if farewell.reason is CloseReason.SLOW_CONSUMER and farewell.cursor is not None:
            self._write_next_event(
                {"errors": [format_refusal(Unavailable(farewell.message, {"cursor": farewell.cursor}))]}
            )
        if final:
            self._write_next_event(
                {"errors": [{"message": farewell.message, "extensions": UNAUTHORIZED_EXTENSIONS}]}
            )
        else:
            self._write(format_comment(farewell.message.encode()))
        self._end_event_stream(complete=final)

    def send_internal_error(self) -> None:
        """Answer with an internal error, or end an event stream that has begun."""
        if self._streaming:
            self._end_event_stream(complete=False)
        else:
            self.send_errors(500, [format_refusal(InternalError())])

    def _start_event_stream(self) -> None:
        if not self.request.is_disconnected:
            self.request.setHeader("Content-Type", f"{EVENT_STREAM_TYPE}; charset=utf-8")
            self.request.setHeader("Cache-Control", "no-store")
            self.request.setHeader("X-Accel-Buffering", "no")  # a proxy must not buffer
            self.request.registerProducer(self._flow_control, True)
            self._streaming = True
        self._write(KEEP_ALIVE)  # sends the head: only then does a browser consider the stream open

    def _write_next_event(self, payload: Payload) -> None:
        self._write(format_event(b"next", strict_json.dumps(payload)))

    def _end_event_stream(self, complete: bool) -> None:
        if complete:
            self._write(format_event(b"complete", b""))
        if not self.request.is_disconnected:
            self.request.unregisterProducer()
            self.request.finish()

    def _write(self, data: bytes) -> None:
        if not self.request.is_disconnected:
            self.request.write(data)

    def _on_connection_lost(self, reason: Failure, stream: ResponseStream) -> None:
        stream.close()
        self._flow_control.resumeProducing()
