"""One HTTP request: what is true of every one, whichever route or resource answers it.

Correlation id, CORS, security headers, rate limit, compression, the access log
and its metrics are here, once; what the request means is the resource's affair.
"""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import NO_BODY_CODES, parse_qs
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as TwistedRequest

from ..core.errors import InternalError, InvalidInput, RateLimited, Refusal
from ..core.ratelimit.fixed_window import RateLimitCheck
from ..observe.logs import CURRENT_REQUEST_ID
from . import envelope, paths
from .access_log import CLIENT_CLOSED_REQUEST, UNMATCHED_ROUTE, log_access, method_label
from .codec import METHODS, HttpProtocolError, RequestHead
from .compression import compress_response
from .envelope import JSON_CONTENT_TYPE, ResponseHeaders
from .proxy_headers import resolve_admitted_client
from .request_id import request_id_of
from .security_headers import HSTS_HEADER, SECURITY_HEADERS

if TYPE_CHECKING:
    from .channel import Channel
    from .site import Site


class HttpRequest(TwistedRequest):
    """camelCase methods are called by Twisted, Klein or a mounted resource."""

    defaultContentType = None
    transport: Any
    route_template = UNMATCHED_ROUTE  # template, for metrics and the log
    is_upgrade = False  # asks for another protocol, on a mounted resource

    _log = Logger()

    def __init__(self, channel: Channel, site: Site, head: RequestHead | None) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.http_channel = channel
        self._site = site
        self.started_at = site.clock.seconds()
        self._rate_limit_check: RateLimitCheck | None = None
        self._refusal: Refusal | None = None  # of whoever asks, whatever it is
        self._forwarded_secure: bool | None = None  # what a proxy says of it
        self._path_segments: tuple[str, ...] | None = None
        self._access_logged = False
        self._body_size = 0
        self.clientproto = b"HTTP/1.1"
        self.content: BytesIO = BytesIO()
        self.args: dict[bytes, list[bytes]] = {}
        self.query = b""
        if head is not None:
            self._load_head(head)
        self.request_id = request_id_of(self.requestHeaders, site.new_id)

    def _load_head(self, head: RequestHead) -> None:
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.path, _, self.query = head.target.partition(b"?")
        for name, value in head.fields:
            self.requestHeaders.addRawHeader(name, value)
        self.requestHeaders.setRawHeaders(b"host", [head.host])
        try:
            self._path_segments = paths.decode_segments(self.path)
        except InvalidInput:
            return  # `process` says so
        self.is_upgrade = (
            self.method == b"GET"
            and self._is_websocket_upgrade()
            and self._path_segments in self._site.mounts
        )

    # Called by the channel.

    def check_admission(self) -> bool:
        """Whether the request may go on: asked before any of its body is read."""
        try:
            origin = resolve_admitted_client(self.requestHeaders, self.client, self._site.address_rules)
        except Refusal as refusal:
            self._refusal = refusal
            return False
        self.client, self._forwarded_secure = origin.address, origin.secure
        at = self._path_segments or ()
        if self._is_preflight() or self.is_upgrade or at[:1] == ("health",):
            return True
        self._rate_limit_check = self._site.check_rate_limits(self.client_address, at)
        return not self._rate_limit_check.tightest.exceeded

    def receive_body(self, body: bytes) -> None:
        """All of it, before `process`."""
        self._body_size = len(body)
        if self.is_upgrade and not body:
            # Who takes the connection over gets what follows the head as its body.
            body = self.http_channel.pipelined_bytes
        self.content = BytesIO(body)

    def reject(self) -> None:
        """Answer one that may not go on."""
        self.respond(self.prepare_refusal(self._refusal or RateLimited("Too many requests")))

    def reject_protocol_error(self, fault: HttpProtocolError) -> None:
        """Answer one that can't be followed."""
        status, refusal = envelope.refusal_for_protocol_error(fault)
        self.respond(self.prepare_refusal(refusal, status=status))

    def process(self) -> None:
        """Answer it, if other instances have no more of them than it may be."""
        if self._rate_limit_check is None or not self._rate_limit_check.is_shared:
            self._process_with_request_id()
        else:
            settled = Deferred.fromCoroutine(self._rate_limit_check.with_shared_counts())
            settled.addCallback(self._on_shared_counts).addErrback(self.processingFailed)

    def _on_shared_counts(self, standings: RateLimitCheck) -> None:
        self._rate_limit_check = standings
        if standings.tightest.exceeded:
            self.reject()
        elif not self._disconnected:  # it may have waited for Redis
            self._process_with_request_id()

    def _process_with_request_id(self) -> None:
        """Whatever is logged meanwhile, anywhere, carries its id."""
        context = CURRENT_REQUEST_ID.set(self.request_id)
        try:
            self._handle()
        finally:
            CURRENT_REQUEST_ID.reset(context)

    def _handle(self) -> None:
        try:
            if self._is_preflight():
                origin = self._last_header(b"origin") or b""
                allowed = self._site.cors.preflight_headers(
                    origin, self.isSecure(), self._last_header(b"host") or b""
                )
                self.respond(self.prepare_response(204, b"", allowed))
            elif self.path == b"*":
                self.respond(self.prepare_response(204, b"", ((b"Allow", b", ".join(sorted(METHODS))),)))
            elif self._path_segments is None:
                raise InvalidInput("The path is not UTF-8")
            else:
                self._dispatch(self._path_segments)
        except Refusal as refusal:
            self.respond(self.prepare_refusal(refusal))
        except Exception:
            self.processingFailed(Failure())

    def on_upgraded(self) -> None:
        """The connection speaks another protocol from here on."""
        self._disconnected = True  # nothing can be answered any more
        self.code = HTTPStatus.SWITCHING_PROTOCOLS
        self._log_access()

    def connectionLost(self, reason: Failure) -> None:
        if not self.startedWriting:
            self.code = CLIENT_CLOSED_REQUEST
        self._log_access()
        super().connectionLost(reason)

    # To whom it goes.

    def _dispatch(self, at: tuple[str, ...]) -> None:
        mount = self._site.find_mount(at)
        if mount is None:
            if at[0] == "" and len(at) > 1:  # werkzeug would take //health for /health
                raise envelope.route_not_found(self.path.decode())
            self.prepath, self.postpath = [], paths.canonical_segments(at)
            self._site.api.render(self)
            return
        depth = len(mount)
        self.route_template = "/" + "/".join(mount)
        self.prepath = [part.encode() for part in at[:depth]]
        self.postpath = [part.encode() for part in at[depth:]]
        self.args = parse_qs(self.query, True)
        resource = self._site.mounts[mount]
        if self.postpath and (self._is_websocket_upgrade() or not resource.isLeaf):
            raise envelope.route_not_found(self.path.decode())
        self._render_resource(resource)

    def _render_resource(self, resource: IResource) -> None:
        try:
            body = resource.render(self)
        except UnsupportedMethod as unsupported:
            allowed = ((b"Allow", b", ".join(unsupported.allowedMethods)),)
            self.respond(self.prepare_refusal(envelope.MethodNotAllowed("Method not allowed"), allowed))
            return
        if body is not NOT_DONE_YET:
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self.respond(body)

    # Answers.

    def prepare_response(
        self, status: int, body: bytes, extra: ResponseHeaders = (), content_type: bytes = JSON_CONTENT_TYPE
    ) -> bytes:
        """Set the head of an answer whose whole body is `body`, and give that back."""
        self.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
        if status not in NO_BODY_CODES:
            self.setHeader(b"Content-Type", content_type)
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._set_headers(extra)
        return body

    def prepare_refusal(self, refusal: Refusal, extra: ResponseHeaders = (), status: int = 0) -> bytes:
        """The answer that declines, in the contract's envelope."""
        body = envelope.error_body(refusal, self._site.clock.seconds())
        return self.prepare_response(status or refusal.status, body, envelope.error_headers(refusal) + extra)

    def prepare_internal_error(self, failure: Failure) -> bytes:
        """The answer to a bug of ours, which goes to the log whole."""
        what: Any = {
            "method": method_label(self.method),
            "route": self.route_template,
            "request": self.request_id,
        }
        self._log.failure("{method} {route} broke", failure, **what)
        if self.startedWriting or self._disconnected:
            self.transport.abortConnection()  # what was promised can't be kept
            return b""
        return self.prepare_refusal(InternalError())

    def respond(self, body: bytes) -> None:
        if not self._disconnected:
            self.write(body)
            self.finish()

    def processingFailed(self, reason: Failure) -> None:
        self.respond(self.prepare_internal_error(reason))

    def write(self, data: bytes) -> None:
        if not self.startedWriting and not self._disconnected:
            data = self._complete_head(data)
        super().write(data)

    def finish(self) -> None:
        self._log_access()  # before the next request is turned to
        super().finish()

    def _complete_head(self, data: bytes) -> bytes:
        """Complete the head of the answer; gives `data` as it goes out."""
        site, head = self._site, self.responseHeaders
        host = self._last_header(b"host") or b""
        head.setRawHeaders(b"Date", [site.date_header()])
        head.setRawHeaders(b"X-Correlation-ID", [self.request_id.encode("ascii")])
        head.addRawHeader(b"Vary", b"Origin")
        self._set_headers(site.cors.response_headers(self._last_header(b"origin"), self.isSecure(), host))
        if self._rate_limit_check is not None:
            self._set_headers(self._rate_limit_check.tightest.headers())
        if site.security_headers:
            wanted = (*SECURITY_HEADERS, HSTS_HEADER) if self.isSecure() else SECURITY_HEADERS
            self._set_headers(header for header in wanted if not head.hasHeader(header[0]))
        if not self.http_channel.persistent:
            head.setRawHeaders(b"Connection", [b"close"])
        if head.getRawHeaders(b"content-type", [b""])[-1].startswith(b"text/event-stream"):
            site.mark_streaming(self.http_channel)
        return (
            compress_response(data, head, self._last_header(b"accept-encoding") or b"")
            if site.compression
            else data
        )

    def _set_headers(self, extra: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in extra:
            self.responseHeaders.setRawHeaders(name, [value])

    # The account of it.

    def _log_access(self) -> None:
        """One line in the log and one observation, however it ended."""
        if self._access_logged:
            return
        self._access_logged = True
        log_access(self._site, self, int(self.code), self._body_size, self.sentLength)

    # Small questions.

    def isSecure(self) -> bool:
        return self.http_channel.secure if self._forwarded_secure is None else self._forwarded_secure

    def _is_websocket_upgrade(self) -> bool:
        return bool((self._last_header(b"upgrade") or b"").lower() == b"websocket")

    def _is_preflight(self) -> bool:
        asks = self._last_header(b"access-control-request-method")
        return self.method == b"OPTIONS" and asks is not None and self._last_header(b"origin") is not None

    @property
    def client_address(self) -> str:
        """The client's."""
        return str(getattr(self.client, "host", ""))

    @property
    def body(self) -> bytes:
        return self.content.getvalue()

    def first_header(self, name: bytes) -> bytes | None:
        """The first of that name."""
        return self.requestHeaders.getRawHeaders(name, [None])[0]  # type: ignore[no-any-return]

    def _last_header(self, name: bytes) -> Any:
        return self.requestHeaders.getRawHeaders(name, [None])[-1]
