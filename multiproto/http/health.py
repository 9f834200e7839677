"""Routes that tell how the server is: outside the envelope, never rate limited (contract, section 2)."""

from __future__ import annotations

from typing import Awaitable, Mapping, Protocol

from attrs import define

from .answers import Answer
from .call import Call, Route


class Health(Protocol):
    """What these routes ask of whoever watches the server."""

    def report(self) -> Awaitable[tuple[int, Mapping[str, object]]]:
        """HTTP status, and the body of `/health` as the contract has it."""

    def ready(self) -> bool:
        """Whether new work should come here."""


@define(eq=False, repr=False)
class HealthRoutes:
    _health: Health

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/health", self.report),
            Route("GET", "/health/ready", self.ready),
            Route("GET", "/health/live", self.live),
        ]

    async def report(self, call: Call) -> Answer:
        status, report = await self._health.report()
        return Answer(status, report, bare=True)

    async def ready(self, call: Call) -> Answer:
        if self._health.ready():
            return Answer(200, {"status": "ready"}, bare=True)
        return Answer(503, {"status": "not ready"}, bare=True)

    async def live(self, call: Call) -> Answer:
        return Answer(200, {"status": "alive"}, bare=True)
