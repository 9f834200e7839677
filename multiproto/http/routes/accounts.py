"""Routes of accounts and sessions: /auth and /users (contract, section 2)."""

from __future__ import annotations

from attrs import define

from ...core.domain.accounts import Accounts
from ...core.domain.login_sessions import LoginResult, LoginSessions
from ..envelope import JsonResponse
from ..route import RequestContext, Route


@define(eq=False, repr=False)
class AccountRoutes:
    _accounts: Accounts
    _login_sessions: LoginSessions

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/auth/register", self.register),
            Route("POST", "/auth/login", self.login),
            Route("POST", "/auth/refresh", self.refresh),
            Route("POST", "/auth/logout", self.logout),
            Route("POST", "/auth/logout-all", self.logout_all),
            Route("GET", "/auth/sessions", self.list_sessions),
            Route("DELETE", "/auth/sessions/:id", self.revoke_session),
            Route("GET", "/auth/me", self.get_own_account, allows_credentials=True),
            Route("GET", "/users/:id", self.get_account),
            Route("PUT", "/users/:id", self.update_account),
            Route("DELETE", "/users/:id", self.close_account),
        ]

    async def register(self, call: RequestContext) -> JsonResponse:
        kept = await self._accounts.register(call.body_fields(), call.client)
        return JsonResponse(201, kept.value.to_json(), kept.cursor)

    async def login(self, call: RequestContext) -> JsonResponse:
        return _login_response(await self._login_sessions.login(call.body_fields(), call.client))

    async def refresh(self, call: RequestContext) -> JsonResponse:
        return _login_response(await self._login_sessions.refresh(call.body_fields(), call.client))

    async def logout(self, call: RequestContext) -> JsonResponse:
        await self._login_sessions.logout(await call.authenticate(), call.client)
        return JsonResponse(204)

    async def logout_all(self, call: RequestContext) -> JsonResponse:
        await self._login_sessions.logout_all(await call.authenticate(), call.client)
        return JsonResponse(204)

    async def list_sessions(self, call: RequestContext) -> JsonResponse:
        opened = await self._login_sessions.list_active(await call.authenticate())
        return JsonResponse(200, [session.to_json() for session in opened])

    async def revoke_session(self, call: RequestContext, id: str) -> JsonResponse:
        await self._login_sessions.revoke(await call.authenticate(), id, call.client)
        return JsonResponse(204)

    async def get_own_account(self, call: RequestContext) -> JsonResponse:
        who = await call.authenticate()
        kept = await self._accounts.read(who.user_id)
        return JsonResponse(200, kept.value.to_json(), kept.cursor)

    async def get_account(self, call: RequestContext, id: str) -> JsonResponse:
        await call.authenticate()
        kept = await self._accounts.read(id)
        return JsonResponse(200, kept.value.to_json(), kept.cursor)

    async def update_account(self, call: RequestContext, id: str) -> JsonResponse:
        kept = await self._accounts.update(await call.authenticate(), id, call.body_fields(), call.client)
        return JsonResponse(200, kept.value.to_json(), kept.cursor)

    async def close_account(self, call: RequestContext, id: str) -> JsonResponse:
        await self._accounts.close(await call.authenticate(), id, call.client)
        return JsonResponse(204)


def _login_response(login: LoginResult) -> JsonResponse:
    return JsonResponse(
        200,
        {
            "user": login.user.to_json(),
            "token": login.token,
            "expiresIn": login.expires_in,
            "refreshToken": login.refresh_token,
        },
    )
