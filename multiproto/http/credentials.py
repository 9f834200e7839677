"""Routes of credentials for devices and services: /auth/credentials."""

from __future__ import annotations

from attrs import define

from ..core.keyring import Keyring
from .answers import Answer
from .call import Call, Route


@define(eq=False, repr=False)
class CredentialRoutes:
    _keyring: Keyring

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/auth/credentials", self.make),
            Route("GET", "/auth/credentials", self.all),
            Route("DELETE", "/auth/credentials/:id", self.revoke),
        ]

    async def make(self, call: Call) -> Answer:
        made = await self._keyring.make(await call.identity(), call.fields(), call.client)
        return Answer(201, made.public())

    async def all(self, call: Call) -> Answer:
        return Answer(200, [each.public() for each in await self._keyring.all(await call.identity())])

    async def revoke(self, call: Call, id: str) -> Answer:
        await self._keyring.revoke(await call.identity(), id, call.client)
        return Answer(204)
