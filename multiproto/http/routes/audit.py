"""Routes of the audit log: a user's own records, and all of them for operators."""

from __future__ import annotations

from attrs import define

from ...core.domain.audit_log import AuditLog
from ..envelope import JsonResponse, page_response
from ..route import Auth, RequestContext, Route


@define(eq=False, repr=False)
class AuditRoutes:
    _audit_log: AuditLog

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/auth/audit", self.list_own, auth=Auth.LOGIN),
            Route("GET", "/audit", self.list_all, auth=Auth.OPERATOR),
        ]

    async def list_own(self, context: RequestContext) -> JsonResponse:
        return page_response(await self._audit_log.own_page(context.identity, context.query_params()))

    async def list_all(self, context: RequestContext) -> JsonResponse:
        return page_response(await self._audit_log.page(context.query_params()))
