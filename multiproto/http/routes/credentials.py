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

    async def create(self, call: RequestContext) -> JsonResponse:
        made = await self._credential_store.create(call.identity, call.body_fields(), call.client)
        return JsonResponse(201, made.to_json())

    async def list_own(self, call: RequestContext) -> JsonResponse:
        return JsonResponse(
            200,
            [each.to_json() for each in await self._credential_store.list_active(call.identity)],
        )

    async def revoke(self, call: RequestContext, id: str) -> JsonResponse:
        await self._credential_store.revoke(call.identity, id, call.client)
        return JsonResponse(204)
