"""The HTTP server of the metrics port, for operators and Prometheus; clients never connect to it."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any, Awaitable, Callable, Iterator

from prometheus_client.exposition import choose_encoder
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from ..base.timestamps import format_timestamp
from .metrics import Metrics
from .stats import stats_document

METHODS = (b"GET", b"HEAD")

PageResponse = tuple[int, str, bytes]  # status, media type, body
PageHandler = Callable[[Request], Awaitable[PageResponse]]
HealthReport = Callable[[], Awaitable[tuple[int, dict[str, Any]]]]  # status and body of `/health`


def make_metrics_site(
    metrics: Metrics, health: HealthReport, now: Callable[[], float], clock: IReactorTime
) -> Site:
    """The site of the metrics port; `now` gives seconds since the epoch."""
    return _QuietSite(MetricsResource(metrics, health, now), requestFactory=_BodilessRequest, reactor=clock)


class MetricsResource(Resource):
    """GET /metrics, /metrics/json, /health and /stats; anything else is an error in JSON."""

    isLeaf = True
    _log = Logger()

    def __init__(self, metrics: Metrics, health: HealthReport, now: Callable[[], float]) -> None:
        super().__init__()
        self._metrics = metrics
        self._health = health
        self._now = now
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
        encode, media_type = choose_encoder(request.getHeader("accept") or "")
        return 200, media_type, encode(self._metrics.registry)

    async def _json_page(self, request: Request) -> PageResponse:
        return _json_response(200, list(_metrics_as_json(self._metrics)))

    async def _health_page(self, request: Request) -> PageResponse:
        return _json_response(*await self._health())

    async def _stats_page(self, request: Request) -> PageResponse:
        return _json_response(200, stats_document(self._metrics, self._now()))

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
    return status, "application/json; charset=utf-8", json.dumps(document).encode("ascii")


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


class _QuietSite(Site):
    """A site without an access log."""

    noisy = False

    def log(self, request: PlainRequest) -> None:
        """Nothing: requests to this port are not logged."""


class _BodilessRequest(Request):
    """A request whose body is dropped, however long: no page needs one, and twisted.web would buffer it whole."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Drop it."""
