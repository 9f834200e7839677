"""Health and readiness of the server: outside the envelope, never rate limited (docs/rest.md#get-health)."""

from __future__ import annotations

from typing import Awaitable, Mapping, Protocol

from attrs import define

from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route


class HealthReporter(Protocol):
    """What these routes need: the health checks of the server."""

    def report(self) -> Awaitable[tuple[int, Mapping[str, object]]]:
        """HTTP status, and the body of `/health` (docs/rest.md#get-health)."""

    def ready(self) -> bool:
        """Whether this instance should receive new requests."""


@define(eq=False, repr=False)
class HealthRoutes:
    _health: HealthReporter

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/health", self.report, auth=Auth.NONE),
            Route("GET", "/health/ready", self.ready, auth=Auth.NONE),
            Route("GET", "/health/live", self.live, auth=Auth.NONE),
        ]

    async def report(self, context: RequestContext) -> JsonResponse:
        status, report = await self._health.report()
        return JsonResponse(status, report, without_envelope=True)

    async def ready(self, context: RequestContext) -> JsonResponse:
        if self._health.ready():
            return JsonResponse(200, {"status": "ready"}, without_envelope=True)
        return JsonResponse(503, {"status": "not ready"}, without_envelope=True)

    async def live(self, context: RequestContext) -> JsonResponse:
        return JsonResponse(200, {"status": "alive"}, without_envelope=True)
