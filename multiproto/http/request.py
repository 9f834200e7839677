"""One HTTP request and its response, for handlers, mounted resources and upgrades alike.

It is a `twisted.web` request, for Klein's handlers, for resources and for
Autobahn's handshake, but it makes what those may use (headers as `Headers`,
arguments, a file for the body) only on access: two dozen objects that most
requests never need.  Correlation id, CORS, security headers, rate limit,
compression, access log and metrics are applied here, once.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import Any, AnyStr, Coroutine, Sequence

from klein import Response as KleinResponse
from klein.interfaces import IKleinRequest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import NO_BODY_CODES, datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.iweb import IRenderable
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as TwistedRequest
from twisted.web.template import renderElement
from werkzeug.exceptions import HTTPException

from ..base.coroutines import start_eagerly
from ..base.tcp_socket import limit_unsent
from ..core.errors import InternalError, Refusal
from ..core.ratelimit.fixed_window import RateLimitCheck
from ..observe.logs import CURRENT_REQUEST_ID
from . import compression, envelope
from .access_log import CLIENT_CLOSED_REQUEST, UNMATCHED_ROUTE, log_access, method_label
from .codec import METHODS, HttpProtocolError, split_list
from .envelope import JSON_CONTENT_TYPE, NO_STORE, JsonResponse, RawResponse, ResponseHeaders
from .interfaces import RequestChannel, RequestSite
from .resolved_head import VARY_BOTH, VARY_ORIGIN, HeaderLines, ResolvedHead, format_lines
from .routing import CountedBy, Match
from .security_headers import HSTS_HEADER, SECURITY_HEADERS
from .urlencoded import parse_urlencoded

_OwnHeaders = Sequence[tuple[bytes, bytes]]

_PHRASES = {each.value: each.phrase.encode("ascii") for each in HTTPStatus}
_SECURITY_NAMES = frozenset(name for name, _ in (*SECURITY_HEADERS, HSTS_HEADER))
# Headers that a handler may set, and that are added to every response, too.
_SHARED_NAMES = _SECURITY_NAMES | {
    *(b"Date", b"X-Correlation-Id", b"Vary", b"Connection"),
    *(b"Access-Control-Allow-Origin", b"Access-Control-Allow-Credentials", b"Access-Control-Expose-Headers"),
    *(b"Ratelimit-Policy", b"Ratelimit-Limit", b"Ratelimit-Remaining", b"Ratelimit-Reset"),
}

_DESCRIBING = (b"Content-Type", b"Content-Length")
_ANSWER = b"%s%s%sDate: %s\r\nX-Correlation-Id: %s\r\n%s%s%s%s%s\r\n%s"
_CLOSE: HeaderLines = ((b"Connection", b"close"),)
_CLOSE_LINE = format_lines(_CLOSE)


class HttpRequest(TwistedRequest):
    """A request and its response.

    camelCase methods are called by Twisted, Klein or a mounted resource.
    """

    channel: Any
    transport: Any
    queued = False
    route_template = UNMATCHED_ROUTE  # for metrics and the access log
    body = b""
    _rate_limit_check: RateLimitCheck | None = None
    _running: Deferred[Any] | None = None  # the endpoint, while it awaits something
    _access_logged = False
    _bodiless = False  # the response to HEAD, or of a status without a body
    # Made on access.  Not in `__dict__`, as a `cached_property` is: using that slows down every attribute of
    # the request in CPython 3.11, by 4 % of a small request.
    _request_headers: Headers | None = None
    _response_headers: Headers | None = None
    _notifications: list[Deferred[None]] | None = None

    _log = Logger()

    def __init__(self, channel: RequestChannel, site: RequestSite, resolved_head: ResolvedHead) -> None:
        # Not `super().__init__`, which makes everything that is made on access below.
        self.channel = self.http_channel = channel
        self.transport = channel.transport
        self._site = site
        self._resolved_head = resolved_head
        self._resolved_headers = headers = resolved_head.headers
        head = resolved_head.head
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.request_id = headers.request_id or site.new_id()
        self.started_at = site.clock.seconds()

    # Attributes of a `twisted.web` request, made on access.

    @cached_property
    def client(self) -> IAddress:  # type: ignore[override]
        return self._resolved_headers.client

    @cached_property
    def host(self) -> IAddress:  # type: ignore[override]
        return self.http_channel.getHost()

    @cached_property
    def path(self) -> bytes:  # type: ignore[override]
        return self._resolved_head.target.path

    @property
    def requestHeaders(self) -> Headers:  # type: ignore[override]
        if self._request_headers is None:
            self._request_headers = self._make_request_headers()
        return self._request_headers

    def _make_request_headers(self) -> Headers:
        head, headers = self._resolved_head.head, Headers()
        for name, value in head.fields:
            headers.addRawHeader(name, value)
        if head.method:
            headers.setRawHeaders(b"host", [head.host])
        return headers

    @property
    def responseHeaders(self) -> Headers:  # type: ignore[override]
        if self._response_headers is None:
            self._response_headers = Headers()
        return self._response_headers

    @cached_property
    def received_cookies(self) -> dict[bytes, bytes]:  # type: ignore[override]
        found: dict[bytes, bytes] = {}
        self.__dict__["received_cookies"] = found
        self.parseCookies()
        return found

    @cached_property
    def cookies(self) -> list[bytes]:  # type: ignore[override]
        return []

    @property
    def notifications(self) -> list[Deferred[None]]:  # type: ignore[override]
        if self._notifications is None:
            self._notifications = []
        return self._notifications

    @cached_property
    def _adapterCache(self) -> dict[str, object]:  # type: ignore[override]  # of `Componentized`
        return {}

    @cached_property
    def args(self) -> dict[bytes, list[bytes]]:  # type: ignore[override]
        """The fields of the query.  Raises `InvalidInput` for too many."""
        found: dict[bytes, list[bytes]] = {}
        for name, value in parse_urlencoded(self.query, "query"):
            found.setdefault(name, []).append(value)
        return found

    @cached_property
    def content(self) -> BytesIO:  # type: ignore[override]
        return BytesIO(self.body)

    @cached_property
    def prepath(self) -> list[bytes]:  # type: ignore[override]
        return self._encoded_segments()[: self._match_depth]

    @cached_property
    def postpath(self) -> list[bytes]:  # type: ignore[override]
        return self._encoded_segments()[self._match_depth :]

    def split_path(self, depth: int) -> None:
        """Split the path into `prepath`, of `depth` segments, and `postpath`, for a mounted resource."""
        encoded = self._encoded_segments()
        self.prepath, self.postpath = encoded[:depth], encoded[depth:]

    @property
    def _match_depth(self) -> int:
        match = self._resolved_head.target.match
        return 0 if match is None else match.depth

    def _encoded_segments(self) -> list[bytes]:
        return [segment.encode() for segment in self._resolved_head.target.segments or ()]

    def getHeader(self, key: AnyStr) -> AnyStr | None:
        if isinstance(key, str):
            value = self.getHeader(key.encode("latin-1"))
            return None if value is None else _decode_header(value)
        if self._request_headers is not None:
            return super().getHeader(key)
        return self._resolved_head.head.last(key.lower())

    # What handlers read of the request.

    @property
    def query(self) -> bytes:
        return self._resolved_head.query

    @property
    def client_address(self) -> str:
        """The client's address, also behind a trusted proxy."""
        return self._resolved_headers.client_address

    @property
    def turn_key(self) -> str:
        """Whose share of the reactor's time the request has."""
        return self._resolved_head.turn_key

    @property
    def is_disconnected(self) -> bool:
        """Whether nothing can be sent any more: the connection is lost or taken over."""
        return bool(self._disconnected)

    async def wait_for_turn(self, kind: str, first: bool = False) -> bool:
        """Return when the reactor has time for the client, as `TurnScheduler.wait`: whether it is still there."""
        if await self._site.turns.wait(self.turn_key, kind, first):
            is_there: Deferred[bool] = Deferred()
            self.http_channel.find_client(self.turn_key, kind, is_there.callback)
            if not await is_there:
                return False
        return not self._disconnected

    @property
    def takes_interim_responses(self) -> bool:
        """Whether an interim response may be sent now: to HTTP/1.1, while the response has not begun."""
        return self._resolved_head.head.version != b"HTTP/1.0" and not self.startedWriting

    @property
    def wants_websocket_upgrade(self) -> bool:
        return self._resolved_headers.wants_websocket_upgrade

    def first_header(self, name: bytes) -> bytes | None:
        """The first value of the header `name`, which is in lower case."""
        return self._resolved_head.head.first(name)

    def joined_header(self, name: bytes) -> bytes | None:
        """The list in the header `name`, which is in lower case; it may have come in several lines."""
        return self._resolved_head.head.joined(name)

    def decoded_body(self) -> bytes:
        """The body without its content coding.  Raises `InvalidInput`, `TooLarge`, `UnsupportedContentCoding`."""
        codings = [
            each for each in split_list(self.joined_header(b"content-encoding") or b"") if each != b"identity"
        ]
        if not codings or not self.body:
            return self.body
        if codings not in ([b"gzip"], [b"x-gzip"]):  # RFC 9110, 8.4.1.3
            raise envelope.UnsupportedContentCoding("A body must be as it is, or compressed once with gzip")
        plain = compression.decompress(self.body, self._site.max_body_bytes)
        self.http_channel.count_inflated(max(0, len(plain) - len(self.body)))
        return plain

    def isSecure(self) -> bool:
        return self._resolved_headers.secure

    # Called by the channel.

    def check_admission(self) -> bool:
        """Whether the request is admitted: checked before any of its body is read."""
        if self._resolved_headers.refusal is not None:
            return False
        resolved_head = self._resolved_head
        target = resolved_head.target
        if not target.is_limited or resolved_head.is_preflight or resolved_head.is_upgrade:
            return True
        counted_by = target.match.counted_by if target.match else self._site.router.counted_by(target)
        if counted_by is not CountedBy.ADDRESS and (
            self._resolved_headers.has_token or counted_by is CountedBy.HANDLER
        ):
            return True  # it is counted once it is known whose it is
        check = self._site.check_rate_limit(self._resolved_headers.client_address)
        self._rate_limit_check = check
        return not check.status.exceeded

    async def count(self, user_id: str | None = None) -> None:
        """Count the request for the user who sent it, or else for its address, unless it was counted already.

        Raises `RateLimited`.
        """
        if self._rate_limit_check is not None:
            return
        check = self._site.check_rate_limit(self._resolved_headers.client_address, user_id)
        if check.is_shared:
            check = await check.with_shared_count()
        self._rate_limit_check = check
        if check.status.exceeded:
            raise check.refusal()

    def receive_body(self, body: bytes) -> None:
        """Set the whole body; called before `process`."""
        self.body = body

    def reject(self) -> None:
        """Answer a request that is not admitted."""
        refusal, check = self._resolved_headers.refusal, self._rate_limit_check
        if refusal is None:
            assert check is not None
            refusal = check.refusal()
        if self._resolved_head.is_upgrade:
            self.http_channel.close_after_response()  # what follows may be meant for another protocol
        self.send_refusal(refusal)

    def reject_protocol_error(self, fault: HttpProtocolError) -> None:
        """Answer a request that can't be parsed."""
        status, refusal = envelope.refusal_for_protocol_error(fault)
        self.send_refusal(refusal, status)

    def process(self) -> None:
        """Handle the request, once a rate limit that instances share has been checked.

        Everything that is logged meanwhile carries the request's id.
        """
        if self._disconnected:
            return  # while it waited for its turn
        context = CURRENT_REQUEST_ID.set(self.request_id)
        try:
            check = self._rate_limit_check
            if check is None or not check.is_shared:
                self._handle()
            else:
                self._run(self._handle_if_admitted(check))
        finally:
            CURRENT_REQUEST_ID.reset(context)

    async def _handle_if_admitted(self, check: RateLimitCheck) -> None:
        self._rate_limit_check = check = await check.with_shared_count()
        if check.status.exceeded:
            self.reject()
        elif not self._disconnected:  # it may have waited for Redis
            self._handle()

    def on_upgraded(self) -> None:
        """The connection has switched to another protocol."""
        self._disconnected = True  # nothing can be sent any more
        self.code = HTTPStatus.SWITCHING_PROTOCOLS
        self._log_access()

    def connectionLost(self, reason: Failure) -> None:
        if not self.startedWriting:
            self.code = CLIENT_CLOSED_REQUEST
        self._disconnected = True
        self.channel = self.producer = None
        self._log_access()
        if self._running is not None:
            self._running.cancel()
        for waiting in self._pop_notifications():
            waiting.errback(reason)

    def _pop_notifications(self) -> Sequence[Deferred[None]]:
        """Remove and return the `Deferred`s of `notifyFinish`, so that each fires once."""
        waiting, self._notifications = self._notifications, None
        return waiting or ()

    # Dispatch to the endpoint.

    def _handle(self) -> None:
        if self._resolved_head.is_upgrade:
            # The resource that takes the connection over reads what has followed the request as its body.
            self.content = BytesIO(self.http_channel.pipelined_bytes)
        try:
            if self._resolved_head.is_preflight:
                self._answer_preflight()
            elif self.uri == b"*":
                self.send_whole(204, b"", ((b"Allow", b", ".join(sorted(METHODS))),))
            else:
                target = self._resolved_head.target
                match = target.match or self._site.router.match(target)
                respond = match.respond
                self._run(respond(self, **match.params) if respond else self._call_endpoint(match))
        except Refusal as refusal:
            self.send_refusal(refusal)
        except Exception:
            self.fail(Failure())

    def _answer_preflight(self) -> None:
        headers, cors = self._resolved_headers, self._site.policy.cors
        head, requested = self._resolved_head.head, self.joined_header(b"access-control-request-headers")
        allowed = cors.preflight_headers(headers.origin or b"", headers.secure, head.host, requested or b"")
        self.send_whole(204, b"", allowed)

    async def _call_endpoint(self, match: Match) -> None:
        """Call an endpoint in the way that Klein does, and answer with its result."""
        IKleinRequest(self).mapper = self._site.router.adapter  # for its `url_for`
        try:
            result: Any = match.endpoint(None, self, **match.params)
            if result is not NOT_DONE_YET:
                await self._answer_with(result)
        except Refusal as refusal:
            self.send_refusal(refusal)
        except HTTPException as error:
            self._send_http_exception(error)

    def _send_http_exception(self, error: HTTPException) -> None:
        """Answer with an error of `werkzeug.exceptions`, which Klein's handlers may raise."""
        if error.code == HTTPStatus.NOT_FOUND:
            self.send_refusal(envelope.route_not_found(self.path.decode("utf-8", "replace")))
        elif error.code is None or error.code < HTTPStatus.BAD_REQUEST:
            self.fail(Failure(error))
        else:
            message = error.description or error.name
            status, refusal = envelope.refusal_for_protocol_error(HttpProtocolError(error.code, message))
            self.send_refusal(refusal, status)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        """Start the coroutine that answers the request; it is cancelled if the client disconnects."""
        running = start_eagerly(work, self.fail)
        if running is not None:  # it awaits something
            self._running = running

    async def _answer_with(self, result: Any) -> None:
        """Answer with the result of a Klein handler, as Klein does.

        A handler that returned `NOT_DONE_YET` finishes the request itself.
        """
        while isinstance(result, (Deferred, KleinResponse)):
            result = await result if isinstance(result, Deferred) else self._unwrap_response(result)
        if IResource.providedBy(result):
            return self.render(getChildForRequest(result, self))
        if IRenderable.providedBy(result):
            self._default_content_type()
            renderElement(self, result)
            return
        if result is NOT_DONE_YET or self.finished or self._disconnected:
            return
        body = result.encode("utf-8") if isinstance(result, str) else result
        self._finish_with(body if isinstance(body, bytes) else b"")

    def _unwrap_response(self, response: KleinResponse) -> Any:
        self.setResponseCode(response.code)
        for name, values in response.headers.items():
            self.responseHeaders.setRawHeaders(name, [values] if isinstance(values, (str, bytes)) else values)
        return response.body

    def _default_content_type(self) -> None:
        if not self.responseHeaders.hasHeader(b"Content-Type"):
            self.setHeader(b"Content-Type", b"text/html; charset=utf-8")

    def _finish_with(self, body: bytes) -> None:
        """Send `body`, as the whole response or as the end of one that has begun, and finish."""
        if not self.startedWriting and self.code not in NO_BODY_CODES:
            if body:
                self._default_content_type()
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()

    def render(self, resrc: IResource) -> None:
        """Answer with a resource of `twisted.web`."""
        try:
            body = resrc.render(self)
        except UnsupportedMethod as unsupported:
            allowed = b", ".join(unsupported.allowedMethods).decode("ascii")
            return self.send_refusal(envelope.MethodNotAllowed("Method not allowed", allowed))
        if body is not NOT_DONE_YET:
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self.respond(body)

    # Responses.

    def send(self, answer: JsonResponse | RawResponse) -> None:
        if isinstance(answer, RawResponse):
            self.send_whole(answer.status, answer.body, answer.headers, answer.content_type)
        else:
            now = self._site.now()
            body = b"" if answer.data is None else envelope.success_body(answer, now)
            self.send_whole(answer.status, body, NO_STORE)

    def send_refusal(self, refusal: Refusal, status: int = 0) -> None:
        """Send `refusal` as an error (docs/common.md#error-codes); OPTIONS is told the methods that it asked for."""
        refusal.__traceback__ = None  # where it was awaited, its frames hold it: garbage in a circle
        if self.method == b"OPTIONS" and isinstance(refusal, envelope.MethodNotAllowed):
            return self.send_whole(204, b"", envelope.error_headers(refusal))
        body = envelope.error_body(refusal, self._site.now())
        self.send_whole(status or refusal.status, body, envelope.error_headers(refusal))

    def send_whole(
        self,
        status: int,
        body: bytes,
        headers: ResponseHeaders = (),
        content_type: bytes = JSON_CONTENT_TYPE,
    ) -> None:
        """Send the whole response in one write, unless the client disconnected or a response has begun."""
        if self.startedWriting or self._disconnected:
            return
        self.code, self.code_message = status, _PHRASES[status]
        length = b"" if status in NO_BODY_CODES else b"%d" % len(body)
        if self._response_headers is None:
            data = self._begin(headers, content_type, length, body, describe=bool(length))
        else:
            if length:
                headers = ((b"Content-Type", content_type), (b"Content-Length", length), *headers)
            for name, value in headers:
                self.setHeader(name, value)
            data = self._begin(self._own_headers(), content_type, length, body)
        self.http_channel.write(data)
        self._end()

    def send_and_close(self, status: int, body: bytes, headers: ResponseHeaders) -> None:
        """The same with a body of JSON, after which the connection closes."""
        self.http_channel.close_after_response()
        self.send_whole(status, body, headers)

    def respond(self, body: bytes) -> None:
        if not self._disconnected:
            self.write(body)
            self.finish()

    def abort(self) -> None:
        """Drop the connection, with what was not sent yet."""
        self.http_channel.abort()

    def limit_unsent(self, limited: bool) -> None:
        """As `core.ports.Transport`."""
        limit_unsent(self.http_channel.transport, limited)

    def fail(self, failure: Failure) -> None:
        """Log a bug with its traceback and answer with 500; ignore the cancellation after a disconnect."""
        if self._disconnected and failure.check(CancelledError):
            return
        fields: Any = {"method": method_label(self.method), "route": self.route_template}
        self._log.failure("{method} {route} broke", failure, request=self.request_id, **fields)
        if self.finished and self.channel is None:
            return  # the client has its response, and the connection may serve another request
        if self.startedWriting or self._disconnected:
            self.transport.abortConnection()  # a response that has begun can't be completed
        else:
            self.send_refusal(InternalError())

    def processingFailed(self, reason: Failure) -> None:
        self.fail(reason)

    def write(self, data: bytes) -> None:
        if self.finished:
            raise RuntimeError("write after finish")
        if self._disconnected:
            return
        if not self.startedWriting:
            headers = self.responseHeaders
            content_type, length = (headers.getRawHeaders(name, [b""])[-1] for name in _DESCRIBING)
            data = self._begin(self._own_headers(), content_type, length, data)
        elif self._bodiless or not data:
            return
        else:
            self.sentLength += len(data)
            if self.chunked:
                data = _chunk(data)
        self.http_channel.write(data)

    def finish(self) -> None:
        if self._disconnected:
            raise RuntimeError("finish after the connection was lost, which notifyFinish reports")
        if self.finished:
            return
        if not self.startedWriting:
            self.write(b"")
        if self.chunked:
            self.http_channel.write(b"0\r\n\r\n")
        self._end()

    def _end(self) -> None:
        self.finished = 1
        self._log_access()  # before the next request begins
        if self.producer is not None:
            self.unregisterProducer()
        self.channel = None
        self.http_channel.requestDone(self)
        if self._notifications is not None:
            for waiting in self._pop_notifications():
                waiting.callback(None)

    # The head of a response.

    def _own_headers(self) -> _OwnHeaders:
        """The headers that the handler has set."""
        return [(name, value) for name, values in self.responseHeaders.getAllRawHeaders() for value in values]

    def _trailing_headers(self) -> _OwnHeaders:
        """The headers of `setLastModified`, `setETag` and `addCookie`."""
        added: list[tuple[bytes, bytes]] = []
        if self.lastModified is not None and not self.responseHeaders.hasHeader(b"Last-Modified"):
            added.append((b"Last-Modified", datetimeToString(self.lastModified)))
        if self.etag is not None:
            added.append((b"ETag", self.etag))
        return added + [(b"Set-Cookie", cookie) for cookie in self.__dict__.get("cookies", ())]

    def _begin(
        self, own: _OwnHeaders, content_type: bytes, length: bytes, data: bytes, describe: bool = False
    ) -> bytes:
        """Begin the response: returns its head, with its `own` headers, and the start of its body, encoded.

        `content_type` and `length` are the values of these headers, or empty; they are
        among `own`, or added before them (`describe`).
        """
        self.startedWriting = 1
        varies, coding = False, b""
        if len(data) > compression.MIN_SIZE and self._site.policy.compression:
            varies = length == b"%d" % len(data) and all(name != b"Content-Encoding" for name, _ in own)
            if varies and self._resolved_headers.accepts_gzip and compression.is_compressible(content_type):
                data, coding = compression.compress(data), b"Content-Encoding: gzip\r\n"
                length = b"%d" % len(data)
                own = [(name, length if name == b"Content-Length" else value) for name, value in own]
        if self.method == b"HEAD" or self.code in NO_BODY_CODES:
            self._bodiless = True
            data = b""
        elif not length and self.clientproto == b"HTTP/1.1":
            self.chunked = 1
            coding += b"Transfer-Encoding: chunked\r\n"
        if self._response_headers is not None:
            coding += format_lines(self._trailing_headers())
        if content_type.startswith(b"text/event-stream"):
            self._site.mark_streaming(self.http_channel)
        self.sentLength = len(data)
        if self.chunked and data:
            data = _chunk(data)
        description = (
            b"Content-Type: %s\r\nContent-Length: %s\r\n" % (content_type, length) if describe else b""
        )
        return self._format_head(description, own, varies, coding, data)

    def _format_head(
        self, description: bytes, own: _OwnHeaders, varies: bool, coding: bytes, data: bytes
    ) -> bytes:
        """The head of a response, followed by `data`.

        Its headers are `description` (type and length), its `own`, those of every
        response, and `coding`.  `varies`: the response depends on Accept-Encoding.
        """
        headers, check = self._resolved_headers, self._rate_limit_check
        closing = () if self.http_channel.persistent else _CLOSE
        date, id = self._site.date_header(), self.request_id.encode("ascii")
        start = _status_line(self.clientproto, self.code, self.code_message)
        own_lines = _known_lines(own) if isinstance(own, tuple) else _format_unshared(own)
        if own_lines is None:
            limits = () if check is None else check.status.headers()
            shared = (
                *((b"Date", date), (b"X-Correlation-Id", id)),
                *(VARY_BOTH if varies else VARY_ORIGIN),
                *(*headers.cors_headers, *limits, *headers.security_headers, *closing),
            )
            return b"".join((start, description, _merge_headers(own, shared), coding, b"\r\n", data))
        # The same in a third of the time: most of the lines are formatted already.
        return _ANSWER % (
            start,
            description,
            own_lines,
            date,
            id,
            headers.vary_both_lines if varies else headers.vary_lines,
            b"" if check is None else check.status.header_lines(),
            headers.security_lines,
            _CLOSE_LINE if closing else b"",
            coding,
            data,
        )

    # Access log and request metrics.

    def _log_access(self) -> None:
        """Record the request in the access log and the metrics, once, however it ended."""
        if self._access_logged:
            return
        self._access_logged = True
        log_access(self._site, self, int(self.code), len(self.body), self.sentLength)


@lru_cache(256)
def _status_line(version: bytes, code: int, message: bytes) -> bytes:
    return b"%s %d %s\r\n" % (version, code, message)


def _format_unshared(own: _OwnHeaders) -> bytes | None:
    """The lines of `own`; `None` if one has the name of a header that is added to every response."""
    return format_lines(own) if _SHARED_NAMES.isdisjoint([name for name, _ in own]) else None


_known_lines = lru_cache(64)(_format_unshared)  # handlers repeat the same few headers


def _merge_headers(own: _OwnHeaders, shared: _OwnHeaders) -> bytes:
    """The lines of both; a header that is in both takes the value of `shared` and the place in `own`.

    Vary and Connection have both values, and a security header in `own` replaces the shared one, as a page with
    scripts needs.
    """
    merged: dict[bytes, list[bytes]] = {}
    for name, value in own:
        merged.setdefault(name, []).append(value)
    for name, value in shared:
        if name in (b"Vary", b"Connection"):
            merged.setdefault(name, []).append(value)
        elif name in _SECURITY_NAMES:
            merged.setdefault(name, [value])
        else:
            merged[name] = [value]
    return format_lines([(name, value) for name, values in merged.items() for value in values])


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _decode_header(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
