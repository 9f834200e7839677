"""Routes of the audit trail: one's own, and all of it for operators."""

from __future__ import annotations

from attrs import define

from ..core.model import PageOf
from ..core.trail import Noted, Trail
from .answers import Answer
from .call import Call, Route


@define(eq=False, repr=False)
class AuditRoutes:
    _trail: Trail

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/auth/audit", self.own),
            Route("GET", "/audit", self.page),
        ]

    async def own(self, call: Call) -> Answer:
        return _listed(await self._trail.own(await call.identity(), call.query()))

    async def page(self, call: Call) -> Answer:
        return _listed(await self._trail.page(await call.identity(), call.query()))


def _listed(page: PageOf[Noted]) -> Answer:
    return Answer(200, {"data": [noted.public() for noted in page.items], "pagination": page.pagination()})
