"""Routes of accounts and sessions: /auth and /users (docs/rest.md#accounts)."""

from __future__ import annotations

from attrs import define

from ...core.domain.accounts import Accounts
from ...core.domain.login_sessions import LoginSessions
from ...core.errors import Refusal, Unauthorized, ValidationError
from ...core.model import JsonObject
from ..envelope import JsonResponse
from ..route import Auth, RequestContext, Route
from ..routing import CountedBy


@define(eq=False, repr=False)
class AccountRoutes:
    _accounts: Accounts
    _login_sessions: LoginSessions

    def routes(self) -> list[Route]:
        handler = CountedBy.HANDLER  # they have limits of their own
        return [
            Route("POST", "/auth/register", self.register, auth=Auth.NONE, counted_by=handler),
            Route("POST", "/auth/login", self.login, auth=Auth.NONE, counted_by=handler),
            Route("POST", "/auth/refresh", self.refresh, auth=Auth.NONE, counted_by=handler),
            Route("POST", "/auth/logout", self.logout, auth=Auth.LOGIN),
            Route("POST", "/auth/logout-all", self.logout_all, auth=Auth.LOGIN),
            Route("GET", "/auth/sessions", self.list_sessions, auth=Auth.LOGIN),
            Route("DELETE", "/auth/sessions/:id", self.revoke_session, auth=Auth.LOGIN),
            Route("GET", "/auth/me", self.get_own_account, auth=Auth.SCOPED),
            Route("GET", "/users/:id", self.get_account, auth=Auth.LOGIN),
            Route("PUT", "/users/:id", self.update_account, auth=Auth.LOGIN),
            Route("DELETE", "/users/:id", self.close_account, auth=Auth.LOGIN),
        ]

    async def register(self, context: RequestContext) -> JsonResponse:
        fields = await _read_fields(context)
        account = await self._accounts.register(fields, context.client)
        return JsonResponse(201, account.value.to_json(), account.cursor)

    async def login(self, context: RequestContext) -> JsonResponse:
        fields = await _read_fields(context)
        result = await self._login_sessions.login(fields, context.client)
        return JsonResponse(200, result.to_json())

    async def refresh(self, context: RequestContext) -> JsonResponse:
        fields = await _read_fields(context)
        try:
            result = await self._login_sessions.refresh(fields, context.client)
        except (Unauthorized, ValidationError):
            await context.http_request.count()
            raise
        return JsonResponse(200, result.to_json())

    async def logout(self, context: RequestContext) -> JsonResponse:
        await self._login_sessions.logout(context.identity, context.client)
        return JsonResponse(204)

    async def logout_all(self, context: RequestContext) -> JsonResponse:
        await self._login_sessions.logout_all(
            context.identity, context.optional_body_fields(), context.client
        )
        return JsonResponse(204)

    async def list_sessions(self, context: RequestContext) -> JsonResponse:
        sessions = await self._login_sessions.list_active(context.identity)
        return JsonResponse(200, [session.to_json() for session in sessions])

    async def revoke_session(self, context: RequestContext, id: str) -> JsonResponse:
        await self._login_sessions.revoke(context.identity, id, context.client)
        return JsonResponse(204)

    async def get_own_account(self, context: RequestContext) -> JsonResponse:
        account = await self._accounts.read(context.identity, context.identity.user_id)
        return JsonResponse(200, account.value.to_json(), account.cursor)

    async def get_account(self, context: RequestContext, id: str) -> JsonResponse:
        account = await self._accounts.read(context.identity, id)
        return JsonResponse(200, account.value.to_json(), account.cursor)

    async def update_account(self, context: RequestContext, id: str) -> JsonResponse:
        account = await self._accounts.update(context.identity, id, context.body_fields(), context.client)
        return JsonResponse(200, account.value.to_json(), account.cursor)

    async def close_account(self, context: RequestContext, id: str) -> JsonResponse:
        await self._accounts.close(context.identity, id, context.optional_body_fields(), context.client)
        return JsonResponse(204)


async def _read_fields(context: RequestContext) -> JsonObject:
    """The body of a request that its own limit counts; one that can't be read is counted as any other."""
    try:
        return context.body_fields()
    except Refusal:
        await context.http_request.count()
        raise
