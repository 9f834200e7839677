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

from ..core.errors import Internal, InvalidInput, RateLimited, Refusal
from ..observe.logs import REQUEST
from . import answers, paths
from .account import LEFT, UNMATCHED, account, label
from .answers import JSON, Extra
from .codec import METHODS, Head, Malformed
from .compression import compressed
from .correlation import correlation_id
from .forwarded import admitted
from .headers import SECURITY, TRANSPORT_SECURITY
from .ratelimit import Standings

if TYPE_CHECKING:
    from .channel import Channel
    from .site import Site


class Request(TwistedRequest):
    """camelCase methods are called by Twisted, Klein or a mounted resource."""

    defaultContentType = None
    transport: Any
    route = UNMATCHED  # template, for metrics and the log
    upgrades = False  # asks for another protocol, on a mounted resource

    _log = Logger()

    def __init__(self, channel: Channel, site: Site, head: Head | None) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self.connection = channel
        self._site = site
        self.began = site.clock.seconds()
        self._standings: Standings | None = None
        self._refusal: Refusal | None = None  # of whoever asks, whatever it is
        self._secure: bool | None = None  # what a proxy says of it
        self._segments: tuple[str, ...] | None = None
        self._accounted = False
        self._body_size = 0
        self.clientproto = b"HTTP/1.1"
        self.content: BytesIO = BytesIO()
        self.args: dict[bytes, list[bytes]] = {}
        self.query = b""
        if head is not None:
            self._read(head)
        self.correlation_id = correlation_id(self.requestHeaders, site.new_id)

    def _read(self, head: Head) -> None:
        self.method, self.uri, self.clientproto = head.method, head.target, head.version
        self.path, _, self.query = head.target.partition(b"?")
        for name, value in head.fields:
            self.requestHeaders.addRawHeader(name, value)
        self.requestHeaders.setRawHeaders(b"host", [head.host])
        try:
            self._segments = paths.segments(self.path)
        except InvalidInput:
            return  # `process` says so
        self.upgrades = (
            self.method == b"GET" and self._asks_for_websocket() and self._segments in self._site.mounts
        )

    # Called by the channel.

    def screen(self) -> bool:
        """Whether the request may go on: asked before any of its body is read."""
        try:
            origin = admitted(self.requestHeaders, self.client, self._site.rules)
        except Refusal as refusal:
            self._refusal = refusal
            return False
        self.client, self._secure = origin.address, origin.secure
        at = self._segments or ()
        if self._is_preflight() or self.upgrades or at[:1] == ("health",):
            return True
        self._standings = self._site.standings(self.address, at)
        return not self._standings.tightest.exceeded

    def take(self, body: bytes) -> None:
        """All of it, before `process`."""
        self._body_size = len(body)
        if self.upgrades and not body:
            # Who takes the connection over gets what follows the head as its body.
            body = self.connection.ahead
        self.content = BytesIO(body)

    def decline(self) -> None:
        """Answer one that may not go on."""
        self.respond(self.refused(self._refusal or RateLimited("Too many requests")))

    def refuse(self, fault: Malformed) -> None:
        """Answer one that can't be followed."""
        status, refusal = answers.protocol_fault(fault)
        self.respond(self.refused(refusal, status=status))

    def process(self) -> None:
        """Answer it, if other instances have no more of them than it may be."""
        if self._standings is None or not self._standings.shared:
            self._process()
        else:
            settled = Deferred.fromCoroutine(self._standings.settled())
            settled.addCallback(self._settled).addErrback(self.processingFailed)

    def _settled(self, standings: Standings) -> None:
        self._standings = standings
        if standings.tightest.exceeded:
            self.decline()
        elif not self._disconnected:  # it may have waited for Redis
            self._process()

    def _process(self) -> None:
        """Whatever is logged meanwhile, anywhere, carries its id."""
        context = REQUEST.set(self.correlation_id)
        try:
            self._obey()
        finally:
            REQUEST.reset(context)

    def _obey(self) -> None:
        try:
            if self._is_preflight():
                origin = self._header(b"origin") or b""
                allowed = self._site.cors.preflight(origin, self.isSecure(), self._header(b"host") or b"")
                self.respond(self.prepare(204, b"", allowed))
            elif self.path == b"*":
                self.respond(self.prepare(204, b"", ((b"Allow", b", ".join(sorted(METHODS))),)))
            elif self._segments is None:
                raise InvalidInput("The path is not UTF-8")
            else:
                self._dispatch(self._segments)
        except Refusal as refusal:
            self.respond(self.refused(refusal))
        except Exception:
            self.processingFailed(Failure())

    def taken_over(self) -> None:
        """The connection speaks another protocol from here on."""
        self._disconnected = True  # nothing can be answered any more
        self.code = HTTPStatus.SWITCHING_PROTOCOLS
        self._account()

    def connectionLost(self, reason: Failure) -> None:
        if not self.startedWriting:
            self.code = LEFT
        self._account()
        super().connectionLost(reason)

    # To whom it goes.

    def _dispatch(self, at: tuple[str, ...]) -> None:
        mount = self._site.mount(at)
        if mount is None:
            if at[0] == "" and len(at) > 1:  # werkzeug would take //health for /health
                raise answers.no_route(self.path.decode())
            self.prepath, self.postpath = [], paths.canonical(at)
            self._site.api.render(self)
            return
        depth = len(mount)
        self.route = "/" + "/".join(mount)
        self.prepath = [part.encode() for part in at[:depth]]
        self.postpath = [part.encode() for part in at[depth:]]
        self.args = parse_qs(self.query, True)
        resource = self._site.mounts[mount]
        if self.postpath and (self._asks_for_websocket() or not resource.isLeaf):
            raise answers.no_route(self.path.decode())
        self._render(resource)

    def _render(self, resource: IResource) -> None:
        try:
            body = resource.render(self)
        except UnsupportedMethod as unsupported:
            allowed = ((b"Allow", b", ".join(unsupported.allowedMethods)),)
            self.respond(self.refused(answers.MethodNotAllowed("Method not allowed"), allowed))
            return
        if body is not NOT_DONE_YET:
            self.setHeader(b"Content-Length", b"%d" % len(body))
            self.respond(body)

    # Answers.

    def prepare(self, status: int, body: bytes, extra: Extra = (), content_type: bytes = JSON) -> bytes:
        """Set the head of an answer whose whole body is `body`, and give that back."""
        self.setResponseCode(status, HTTPStatus(status).phrase.encode("ascii"))
        if status not in NO_BODY_CODES:
            self.setHeader(b"Content-Type", content_type)
            self.setHeader(b"Content-Length", b"%d" % len(body))
        self._set(extra)
        return body

    def refused(self, refusal: Refusal, extra: Extra = (), status: int = 0) -> bytes:
        """The answer that declines, in the contract's envelope."""
        body = answers.failure(refusal, self._site.clock.seconds())
        return self.prepare(status or refusal.status, body, answers.advice(refusal) + extra)

    def broken(self, failure: Failure) -> bytes:
        """The answer to a bug of ours, which goes to the log whole."""
        what: Any = {"method": label(self.method), "route": self.route, "request": self.correlation_id}
        self._log.failure("{method} {route} broke", failure, **what)
        if self.startedWriting or self._disconnected:
            self.transport.abortConnection()  # what was promised can't be kept
            return b""
        return self.refused(Internal())

    def respond(self, body: bytes) -> None:
        if not self._disconnected:
            self.write(body)
            self.finish()

    def processingFailed(self, reason: Failure) -> None:
        self.respond(self.broken(reason))

    def write(self, data: bytes) -> None:
        if not self.startedWriting and not self._disconnected:
            data = self._begin(data)
        super().write(data)

    def finish(self) -> None:
        self._account()  # before the next request is turned to
        super().finish()

    def _begin(self, data: bytes) -> bytes:
        """Complete the head of the answer; gives `data` as it goes out."""
        site, head = self._site, self.responseHeaders
        host = self._header(b"host") or b""
        head.setRawHeaders(b"Date", [site.date()])
        head.setRawHeaders(b"X-Correlation-ID", [self.correlation_id.encode("ascii")])
        head.addRawHeader(b"Vary", b"Origin")
        self._set(site.cors.headers(self._header(b"origin"), self.isSecure(), host))
        if self._standings is not None:
            self._set(self._standings.tightest.headers())
        if site.security_headers:
            wanted = (*SECURITY, TRANSPORT_SECURITY) if self.isSecure() else SECURITY
            self._set(header for header in wanted if not head.hasHeader(header[0]))
        if not self.connection.persistent:
            head.setRawHeaders(b"Connection", [b"close"])
        if head.getRawHeaders(b"content-type", [b""])[-1].startswith(b"text/event-stream"):
            site.streaming(self.connection)
        return compressed(data, head, self._header(b"accept-encoding") or b"") if site.compression else data

    def _set(self, extra: Iterable[tuple[bytes, bytes]]) -> None:
        for name, value in extra:
            self.responseHeaders.setRawHeaders(name, [value])

    # The account of it.

    def _account(self) -> None:
        """One line in the log and one observation, however it ended."""
        if self._accounted:
            return
        self._accounted = True
        account(self._site, self, int(self.code), self._body_size, self.sentLength)

    # Small questions.

    def isSecure(self) -> bool:
        return self.connection.secure if self._secure is None else self._secure

    def _asks_for_websocket(self) -> bool:
        return bool((self._header(b"upgrade") or b"").lower() == b"websocket")

    def _is_preflight(self) -> bool:
        asks = self._header(b"access-control-request-method")
        return self.method == b"OPTIONS" and asks is not None and self._header(b"origin") is not None

    @property
    def address(self) -> str:
        """The client's."""
        return str(getattr(self.client, "host", ""))

    @property
    def body(self) -> bytes:
        return self.content.getvalue()

    def field(self, name: bytes) -> bytes | None:
        """The first of that name."""
        return self.requestHeaders.getRawHeaders(name, [None])[0]  # type: ignore[no-any-return]

    def _header(self, name: bytes) -> Any:
        return self.requestHeaders.getRawHeaders(name, [None])[-1]
