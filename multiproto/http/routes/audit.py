"""Routes of the audit trail: one's own, and all of it for operators."""

from __future__ import annotations

from attrs import define

from ...core.domain.audit_log import AuditLog, AuditRecord
from ...core.model import PageOf
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route


@define(eq=False, repr=False)
class AuditRoutes:
    _audit_log: AuditLog

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/auth/audit", self.list_own, auth=Auth.LOGIN),
            Route("GET", "/audit", self.list_all, auth=Auth.OPERATOR),
        ]

    async def list_own(self, call: RequestContext) -> JsonResponse:
        return _page_response(await self._audit_log.own_page(call.identity, call.query_params()))

    async def list_all(self, call: RequestContext) -> JsonResponse:
        return _page_response(await self._audit_log.page(call.query_params()))


def _page_response(page: PageOf[AuditRecord]) -> JsonResponse:
    return JsonResponse(
        200, {"data": [noted.to_json() for noted in page.items], "pagination": page.pagination()}
    )
