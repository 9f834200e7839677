"""The HTTP server of the metrics port, for operators and Prometheus; clients never connect to it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, Awaitable, Callable, Iterator

from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ..base.client_network import ClientNetwork, client_network
from ..base.deadline import Deadline
from ..base.timestamps import format_timestamp
from ..base.tls_hello import TLS_HANDSHAKE
from .metrics import Metrics
from .stats import stats_document

METHODS = (b"GET", b"HEAD")
REQUEST_TIMEOUT = 10.0  # seconds from its first byte until a request is whole
RESPONSE_TIMEOUT = 30.0  # seconds from then until it is answered
# Seconds before the first byte of the next one: Prometheus asks once a minute or more often.
IDLE_TIMEOUT = 75.0
JSON_TYPE = "application/json; charset=utf-8"
MAX_CONNECTIONS = 32
MAX_CONNECTIONS_PER_NETWORK = 16

PageResponse = tuple[int, str, bytes]  # status, media type, body
PageHandler = Callable[[Request], Awaitable[PageResponse]]
HealthReport = Callable[[], Awaitable[tuple[int, dict[str, Any]]]]  # status and body of `/health`


def make_metrics_site(
    metrics: Metrics, health: HealthReport, now: Callable[[], float], clock: IReactorTime
) -> Site:
    """The site of the metrics port; `now` gives seconds since the epoch."""
    return _MetricsSite(
        MetricsResource(metrics, health, now, clock), requestFactory=_BodilessRequest, reactor=clock
    )


class MetricsResource(Resource):
    """GET /metrics, /metrics/json, /health and /stats; anything else is an error in JSON."""

    isLeaf = True
    _log = Logger()

    def __init__(
        self, metrics: Metrics, health: HealthReport, now: Callable[[], float], clock: IReactorTime
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._health = health
        self._now = now
        self._clock = clock
        self._encoded: dict[str, bytes] = {}  # all metrics, by media type, in this turn
        self._handlers: dict[str, PageHandler] = {
            "/metrics": self._prometheus_page,
            "/metrics/json": self._json_page,
            "/health": self._health_page,
            "/stats": self._stats_page,
        }

    def render(self, request: Request) -> int:
        response = Deferred.fromCoroutine(self._respond(request))
        response.addErrback(self._on_error, request)
        request.notifyFinish().addErrback(lambda _: response.cancel())
        return NOT_DONE_YET

    async def _respond(self, request: Request) -> None:
        page = self._handlers.get(request.path.decode("latin-1").rstrip("/"))
        if page is None:
            response = self._error_response(404, 3, "Not found")
        elif request.method not in METHODS:
            request.setHeader("Allow", "GET, HEAD")
            response = self._error_response(405, 1, "Method not allowed")
        else:
            response = await page(request)
        _write_response(request, response)

    def _on_error(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):  # the client has disconnected
            return
        self._log.failure("the metrics port could not answer", failure=failure)
        _write_response(request, self._error_response(500, 50, "Internal server error"))

    # The pages.

    async def _prometheus_page(self, request: Request) -> PageResponse:
        accept = request.getHeader(b"accept") or b""  # as text, twisted.web wants it to be UTF-8
        encode, media_type = choose_encoder(accept.decode("latin-1"))
        return 200, media_type, self._once_a_turn(media_type, lambda: encode(self._metrics.registry))

    async def _json_page(self, request: Request) -> PageResponse:
        body = self._once_a_turn(JSON_TYPE, lambda: _encode_json(list(_metrics_as_json(self._metrics))))
        return 200, JSON_TYPE, body

    async def _health_page(self, request: Request) -> PageResponse:
        return _json_response(*await self._health())

    async def _stats_page(self, request: Request) -> PageResponse:
        return _json_response(200, stats_document(self._metrics, self._now(), self._clock.seconds()))

    def _once_a_turn(self, media_type: str, encode: Callable[[], bytes]) -> bytes:
        """The same for all who ask in this turn of the reactor: to encode all metrics takes 10 ms."""
        body = self._encoded.get(media_type)
        if body is None:
            body = self._encoded[media_type] = encode()
            self._clock.callLater(0, self._encoded.clear)
        return body

    def _error_response(self, status: int, code: int, message: str) -> PageResponse:
        error = {"code": code, "message": message}
        return _json_response(
            status, {"success": False, "error": error, "timestamp": format_timestamp(self._now())}
        )


def _metrics_as_json(metrics: Metrics) -> Iterator[dict[str, Any]]:
    """Each metric with its samples, for clients that do not parse Prometheus' text format."""
    for metric in metrics.registry.collect():
        samples = [{"name": each.name, "labels": each.labels, "value": each.value} for each in metric.samples]
        yield {"name": metric.name, "help": metric.documentation, "type": metric.type, "values": samples}


def _json_response(status: int, document: object) -> PageResponse:
    return status, JSON_TYPE, _encode_json(document)


def _encode_json(document: object) -> bytes:
    return json.dumps(document).encode("ascii")


def _write_response(request: Request, response: PageResponse) -> None:
    status, media_type, body = response
    request.setResponseCode(status)
    request.setHeader("Content-Type", media_type)
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("X-Content-Type-Options", "nosniff")
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


class _MetricsChannel(HTTPChannel):
    """One connection.  Twisted's has a deadline between two bytes only, so one a few seconds kept it open for ever."""

    site: _MetricsSite
    transport: Any

    def __init__(self) -> None:
        super().__init__()
        self.network = ClientNetwork("")
        self.is_answering = False
        self._has_begun = False  # the first byte of a request has come

    def connectionMade(self) -> None:
        super().connectionMade()
        self._deadline = Deadline(self.site.clock)
        self._deadline.set(REQUEST_TIMEOUT, self.abort)

    def dataReceived(self, data: bytes) -> None:
        if not self._has_begun and not self.is_answering:
            if data[0] == TLS_HANDSHAKE:
                return self.abort()  # it would wait for an answer to what is no line
            self._has_begun = True
            self._deadline.set(REQUEST_TIMEOUT, self.abort)
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        self.is_answering, self._has_begun = True, False
        self._deadline.set(RESPONSE_TIMEOUT, self.abort)
        super().allContentReceived()

    def requestDone(self, request: PlainRequest) -> None:
        self.is_answering = False
        self._deadline.set(IDLE_TIMEOUT, self.abort)
        super().requestDone(request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._deadline.cancel()
        self.site.forget(self)
        super().connectionLost(reason)

    def abort(self) -> None:
        self.transport.abortConnection()


class _MetricsSite(Site):
    """A site without an access log, whose connections are few.

    Of too many, the one that has asked nothing for longest makes room: whoever
    keeps connections open does not keep operators out.
    """

    noisy = False
    protocol = _MetricsChannel  # type: ignore[assignment]  # it need not speak HTTP/2

    def __init__(self, *args: Any, reactor: IReactorTime, **kwargs: Any) -> None:
        super().__init__(*args, reactor=reactor, **kwargs)
        self.clock = reactor
        self.timeOut = None  # Twisted's own, of a minute: it would close just as Prometheus asks again
        self._channels: dict[_MetricsChannel, None] = {}  # open ones, the oldest first

    def buildProtocol(self, addr: IAddress | None) -> _MetricsChannel | None:  # type: ignore[override]
        network = client_network(str(getattr(addr, "host", "")))
        neighbours = [each for each in self._channels if each.network == network]
        if len(neighbours) >= MAX_CONNECTIONS_PER_NETWORK:
            has_room = self._make_room(neighbours)
        else:
            has_room = len(self._channels) < MAX_CONNECTIONS or self._make_room(list(self._channels))
        if not has_room:
            return None
        channel: _MetricsChannel = super().buildProtocol(addr)
        channel.network = network
        self._channels[channel] = None
        return channel

    def forget(self, channel: _MetricsChannel) -> None:
        self._channels.pop(channel, None)

    def _make_room(self, channels: list[_MetricsChannel]) -> bool:
        """Close the oldest of `channels` that has no answer due, if there is one."""
        for channel in channels:
            if not channel.is_answering:
                self.forget(channel)
                channel.abort()
                return True
        return False

    def log(self, request: PlainRequest) -> None:
        """Nothing: requests to this port are not logged."""


class _BodilessRequest(Request):
    """A request whose body is dropped, however long: no page needs one, and twisted.web would buffer it whole."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Drop it."""
