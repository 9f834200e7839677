"""The metrics port: what operators and Prometheus ask, apart from what clients ask."""

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

from .metrics import Metrics
from .moments import timestamp
from .stats import stats

METHODS = (b"GET", b"HEAD")

Answer = tuple[int, str, bytes]  # status, media type, body
Page = Callable[[Request], Awaitable[Answer]]
Report = Callable[[], Awaitable[tuple[int, dict[str, Any]]]]  # status and body of `/health`


def metrics_site(metrics: Metrics, health: Report, now: Callable[[], float], clock: IReactorTime) -> Site:
    """`now` is seconds since the epoch."""
    return _Quiet(Pages(metrics, health, now), requestFactory=_Bodiless, reactor=clock)


class Pages(Resource):
    """GET /metrics, /metrics/json, /health and /stats; anything else is an error in JSON."""

    isLeaf = True
    _log = Logger()

    def __init__(self, metrics: Metrics, health: Report, now: Callable[[], float]) -> None:
        super().__init__()
        self._metrics = metrics
        self._health = health
        self._now = now
        self._pages: dict[str, Page] = {
            "/metrics": self._prometheus,
            "/metrics/json": self._families,
            "/health": self._well,
            "/stats": self._stats,
        }

    def render(self, request: Request) -> int:
        answering = Deferred.fromCoroutine(self._render(request))
        answering.addErrback(self._broken, request)
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        return NOT_DONE_YET

    async def _render(self, request: Request) -> None:
        page = self._pages.get(request.path.decode("latin-1").rstrip("/"))
        if page is None:
            answer = self._error(404, 3, "Not found")
        elif request.method not in METHODS:
            request.setHeader("Allow", "GET, HEAD")
            answer = self._error(405, 1, "Method not allowed")
        else:
            answer = await page(request)
        _send(request, answer)

    def _broken(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):  # the client is gone
            return
        self._log.failure("the metrics port could not answer", failure=failure)
        _send(request, self._error(500, 50, "Internal server error"))

    # The pages.

    async def _prometheus(self, request: Request) -> Answer:
        encode, media_type = choose_encoder(request.getHeader("accept") or "")
        return 200, media_type, encode(self._metrics.registry)

    async def _families(self, request: Request) -> Answer:
        return _json(200, list(_families(self._metrics)))

    async def _well(self, request: Request) -> Answer:
        return _json(*await self._health())

    async def _stats(self, request: Request) -> Answer:
        return _json(200, stats(self._metrics, self._now()))

    def _error(self, status: int, code: int, message: str) -> Answer:
        error = {"code": code, "message": message}
        return _json(status, {"success": False, "error": error, "timestamp": timestamp(self._now())})


def _families(metrics: Metrics) -> Iterator[dict[str, Any]]:
    """Each metric with its samples, for those who would rather not parse Prometheus' text."""
    for metric in metrics.registry.collect():
        samples = [{"name": each.name, "labels": each.labels, "value": each.value} for each in metric.samples]
        yield {"name": metric.name, "help": metric.documentation, "type": metric.type, "values": samples}


def _json(status: int, document: object) -> Answer:
    return status, "application/json; charset=utf-8", json.dumps(document).encode("ascii")


def _send(request: Request, answer: Answer) -> None:
    status, media_type, body = answer
    request.setResponseCode(status)
    request.setHeader("Content-Type", media_type)
    request.setHeader("Content-Length", str(len(body)))
    request.setHeader("Cache-Control", "no-store")
    request.setHeader("X-Content-Type-Options", "nosniff")
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


class _Quiet(Site):
    noisy = False

    def log(self, request: PlainRequest) -> None:
        """Nothing: that somebody looks is no news."""


class _Bodiless(Request):
    """Takes no body, however long: nothing here wants one, and twisted.web would buffer it whole."""

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Dropped."""
