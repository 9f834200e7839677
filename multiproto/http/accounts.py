"""Routes of accounts and sessions: /auth and /users (contract, section 2)."""

from __future__ import annotations

from attrs import define

from ..core.accounts import Accounts, Login
from .answers import Answer
from .call import Call, Route


@define(eq=False, repr=False)
class AccountRoutes:
    _accounts: Accounts

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/auth/register", self.register),
            Route("POST", "/auth/login", self.login),
            Route("POST", "/auth/refresh", self.refresh),
            Route("POST", "/auth/logout", self.logout),
            Route("GET", "/auth/me", self.me),
            Route("GET", "/users/:id", self.read),
            Route("PUT", "/users/:id", self.amend),
            Route("DELETE", "/users/:id", self.close),
        ]

    async def register(self, call: Call) -> Answer:
        kept = await self._accounts.register(call.fields(), call.host)
        return Answer(201, kept.value.public(), kept.cursor)

    async def login(self, call: Call) -> Answer:
        return _welcome(await self._accounts.login(call.fields(), call.host))

    async def refresh(self, call: Call) -> Answer:
        return _welcome(await self._accounts.refresh(call.fields(), call.host))

    async def logout(self, call: Call) -> Answer:
        await self._accounts.logout(await call.identity())
        return Answer(204)

    async def me(self, call: Call) -> Answer:
        who = await call.identity()
        kept = await self._accounts.read(who.user_id)
        return Answer(200, kept.value.public(), kept.cursor)

    async def read(self, call: Call, id: str) -> Answer:
        await call.identity()
        kept = await self._accounts.read(id)
        return Answer(200, kept.value.public(), kept.cursor)

    async def amend(self, call: Call, id: str) -> Answer:
        kept = await self._accounts.amend(await call.identity(), id, call.fields())
        return Answer(200, kept.value.public(), kept.cursor)

    async def close(self, call: Call, id: str) -> Answer:
        await self._accounts.close(await call.identity(), id)
        return Answer(204)


def _welcome(login: Login) -> Answer:
    return Answer(
        200,
        {
            "user": login.user.public(),
            "token": login.token,
            "expiresIn": login.expires_in,
            "refreshToken": login.refresh_token,
        },
    )
