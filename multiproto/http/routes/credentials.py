"""Routes of credentials for devices and services: /auth/credentials."""

from __future__ import annotations

from attrs import define

from ...core.domain.credentials import CredentialStore
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route


@define(eq=False, repr=False)
class CredentialRoutes:
    _credential_store: CredentialStore

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/auth/credentials", self.create, auth=Auth.LOGIN),
            Route("GET", "/auth/credentials", self.list_own, auth=Auth.LOGIN),
            Route("DELETE", "/auth/credentials/:id", self.revoke, auth=Auth.LOGIN),
        ]

    async def create(self, context: RequestContext) -> JsonResponse:
        created = await self._credential_store.create(context.identity, context.body_fields(), context.client)
        return JsonResponse(201, created.to_json())

    async def list_own(self, context: RequestContext) -> JsonResponse:
        return JsonResponse(
            200,
            [each.to_json() for each in await self._credential_store.list_active(context.identity)],
        )

    async def revoke(self, context: RequestContext, id: str) -> JsonResponse:
        await self._credential_store.revoke(context.identity, id, context.client)
        return JsonResponse(204)
