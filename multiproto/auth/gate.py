"""The one door for all wires: from a token to an identity that still exists."""

from __future__ import annotations

from typing import Callable

from attrs import define

from ..core.errors import Refusal, Unauthorized
from ..core.model import timestamp
from ..core.ports import Identity, Query, Store
from .tokens import Tokens


@define(eq=False, repr=False)
class TokenGate:
    """`core.ports.Gate`: a good signature is not enough, its session and user must be there too."""

    _tokens: Tokens
    _store: Store
    _now: Callable[[], float]  # seconds since the epoch
    _observed: Callable[[str], object] = lambda outcome: None  # told "success", or why not

    async def identify(self, token: str) -> Identity:
        try:
            identity = await self._identify(token)
        except Refusal as refusal:
            self._observed(refusal.reason)
            raise
        self._observed("success")
        return identity

    async def _identify(self, token: str) -> Identity:
        claims = self._tokens.verify(token)
        params = {"id": claims.session_id, "user_id": claims.user_id, "now": timestamp(self._now())}
        if not (await self._store.read(Query("session_live", params))).results[0]:
            raise Unauthorized("Token revoked", "revoked")
        return Identity(claims.user_id, claims.session_id, claims.until, since=claims.since)
