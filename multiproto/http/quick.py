"""A short way for ordinary requests: the same routes, the same answers to the byte, in a fraction of the work.

Ordinary is what is asked in HTTP/1.1 of a route that gives whole answers, with a
path as in its template, a body of known length, no header twice, and by no
proxy's leave.  All else is answered by `Request`, which is a `twisted.web`
request and goes through Klein: two dozen objects and as many calls for what is
three dictionary lookups here.

Bought, in CPU of GET /health/live with 11 headers: 310 to 36 µs; of 16 in one
write, 270 to 19 each (docs/decisions/021-quick-http.md).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES

from ..base.coroutines import start_eagerly
from ..core.errors import InternalError, RateLimited, Refusal
from ..core.ports import Authenticator
from ..core.ratelimit.fixed_window import RateLimitCheck
from ..observe.logs import CURRENT_REQUEST_ID
from . import envelope
from .access_log import CLIENT_CLOSED_REQUEST, UNMATCHED_ROUTE, log_access, method_label
from .codec import HttpProtocolError, RequestHead
from .compression import shrunk
from .envelope import JSON_CONTENT_TYPE, RawResponse, ResponseHeaders
from .request_id import valid_request_id
from .route import RequestContext
from .security_headers import HSTS_HEADER, SECURITY_HEADERS
from .table import Known, Table, Words

if TYPE_CHECKING:
    from .channel import Channel
    from .site import Site

_STATUS = {each.value: b"HTTP/1.1 %d %s\r\n" % (each, each.phrase.encode("ascii")) for each in HTTPStatus}


def lines(fields: ResponseHeaders) -> bytes:
    return b"".join([b"%s: %s\r\n" % field for field in fields])


_NO_STORE = lines(envelope.NO_STORE)
_SECURITY = {False: lines(SECURITY_HEADERS), True: lines((*SECURITY_HEADERS, HSTS_HEADER))}


@frozen(eq=False, repr=False)
class Ordinary:
    """What a head asks for; a client that repeats it, as most do, has it looked up once."""

    head: RequestHead
    query: bytes
    fields: dict[bytes, bytes]
    known: Known
    words: Words


@frozen(eq=False)
class Short:
    """The way itself, for all requests of a site."""

    access: Authenticator
    table: Table

    def take(self, channel: Channel, site: Site, head: RequestHead) -> Quick | None:
        """The request, if it is an ordinary one."""
        ordinary = channel.ordinary
        if ordinary is None or ordinary.head is not head:
            ordinary = channel.ordinary = self._ordinary(channel, head)
            if ordinary is None:
                return None
        plain = ordinary.fields
        id = (
            valid_request_id(plain.get(b"x-correlation-id"))
            or valid_request_id(plain.get(b"x-request-id"))
            or site.new_id()
        )
        return Quick(channel, site, self.access, ordinary, id)

    def _ordinary(self, channel: Channel, head: RequestHead) -> Ordinary | None:
        plain = head.fields_by_name
        if plain is None or not channel.direct or head.version != b"HTTP/1.1":
            return None
        path, _, query = head.target.partition(b"?")
        found = self.table.find(head.method, path)
        if found is None:
            return None
        known, words = found
        if known.route.fits is not None and not known.route.fits(plain):
            return None
        return Ordinary(head, query, plain, known, words)


@define(eq=False, repr=False)
class Quick:
    """One request; what the channel asks of it is what it asks of `Request`."""

    http_channel: Channel
    _site: Site
    _access: Authenticator
    _asked: Ordinary
    request_id: str
    started_at: float = field(init=False)
    route_template: str = (
        UNMATCHED_ROUTE  # in metrics and the log: until it may go on, as `Request` then looks for one
    )
    _standings: RateLimitCheck | None = None
    _doing: Deferred[None] | None = None
    _answered: bool = False
    body: bytes = b""
    is_upgrade: bool = False

    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.started_at = self._site.clock.seconds()

    # What `RequestContext` and `log_access` ask of it.

    @property
    def method(self) -> bytes:
        return self._asked.head.method

    @property
    def query(self) -> bytes:
        return self._asked.query

    @property
    def client_address(self) -> str:
        return self.http_channel.peer_address

    def first_header(self, name: bytes) -> bytes | None:
        return self._asked.fields.get(name)

    # Called by the channel.

    def check_admission(self) -> bool:
        """Whether the request may go on: asked before any of its body is read."""
        known = self._asked.known
        if not known.counted:
            return True
        self._standings = self._site.check_rate_limits(self.http_channel.peer_address, known.at)
        return not self._standings.tightest.exceeded

    def reject(self) -> None:
        self._decline(RateLimited("Too many requests"))

    def reject_protocol_error(self, fault: HttpProtocolError) -> None:
        status, refusal = envelope.refusal_for_protocol_error(fault)
        self._decline(refusal, status)

    def receive_body(self, body: bytes) -> None:
        self.body = body

    def process(self) -> None:
        context = CURRENT_REQUEST_ID.set(self.request_id)
        try:
            doing = start_eagerly(self._obey(), self._broken)
        finally:
            CURRENT_REQUEST_ID.reset(context)
        if isinstance(doing, Deferred):
            self._doing = doing

    def connectionLost(self, reason: Failure) -> None:
        if not self._answered:
            self._answered = True
            self._account(CLIENT_CLOSED_REQUEST, 0)
            if self._doing is not None:
                self._doing.cancel()

    # Between them.

    async def _obey(self) -> None:
        try:
            if self._standings is not None and self._standings.is_shared:
                self._standings = await self._standings.with_shared_counts()
                if self._standings.tightest.exceeded:
                    return self.reject()
            known = self._asked.known
            self.route_template = known.template
            answer = await known.route.handler(
                RequestContext(self, self._access, known.route), **self._asked.words
            )
        except Refusal as refusal:
            return self._decline(refusal)
        assert answer is not None  # the route is a whole one
        if isinstance(answer, RawResponse):
            self._send(answer.status, answer.body, _NO_STORE, answer.content_type)
        elif answer.data is None:
            self._send(answer.status, b"", _NO_STORE)
        else:
            self._send(answer.status, envelope.success_body(answer, self._site.clock.seconds()), _NO_STORE)

    def _broken(self, failure: Failure) -> None:
        """A bug of ours goes to the log whole, and what a client did not wait for does not."""
        if self._answered and failure.check(CancelledError):
            return
        what: Any = {"method": method_label(self.method), "route": self.route_template}
        self._log.failure("{method} {route} broke", failure, request=self.request_id, **what)
        self._decline(InternalError())

    def _decline(self, refusal: Refusal, status: int = 0) -> None:
        body = envelope.error_body(refusal, self._site.clock.seconds())
        self._send(status or refusal.status, body, lines(envelope.error_headers(refusal)))

    def _send(self, status: int, body: bytes, extra: bytes, content_type: bytes = JSON_CONTENT_TYPE) -> None:
        """All of the answer in one write."""
        if self._answered:
            return
        self._answered = True
        site, channel = self._site, self.http_channel
        vary, coding = b"Vary: Origin\r\n", b""
        if site.compression and status not in NO_BODY_CODES:
            small = shrunk(body, self.first_header(b"accept-encoding") or b"")
            if small is not None:
                vary += b"Vary: Accept-Encoding\r\n"
                if small is not body:
                    body, coding = small, b"Content-Encoding: gzip\r\n"
        origin = self._asked.fields.get(b"origin")
        head = [
            _STATUS[status],
            b""
            if status in NO_BODY_CODES
            else b"Content-Type: %s\r\nContent-Length: %d\r\n" % (content_type, len(body)),
            extra,
            b"Date: %s\r\nX-Correlation-Id: %s\r\n" % (site.date_header(), self.request_id.encode("ascii")),
            vary,
            b""
            if origin is None
            else lines(site.cors.response_headers(origin, channel.secure, self._asked.head.host)),
            b"" if self._standings is None else lines(self._standings.tightest.headers()),
            _SECURITY[channel.secure] if site.security_headers else b"",
            b"" if channel.persistent else b"Connection: close\r\n",
            coding,
            b"\r\n",
            body,
        ]
        channel.write(b"".join(head))
        self._account(status, len(body))
        channel.requestDone(self)

    def _account(self, status: int, sent: int) -> None:
        log_access(self._site, self, status, len(self.body), sent)
