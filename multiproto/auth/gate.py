"""The one door for all wires: from a token or a credential to an identity that still exists."""

from __future__ import annotations

from hmac import compare_digest
from typing import Callable

from attrs import define

from ..core import grants
from ..core.errors import Refusal, Unauthorized
from ..core.model import timestamp
from ..core.ports import Identity, Query, Store
from ..observe.moments import seconds
from .credentials import PREFIX, digest, id_of
from .tokens import Tokens

TOKEN, CREDENTIAL = "token", "credential"  # methods, as metrics call them


def method_of(who: Identity) -> str:
    """What they came with."""
    return TOKEN if who.grants is None else CREDENTIAL


@define(eq=False, repr=False)
class TokenGate:
    """`core.ports.Gate`: a good signature is not enough, its session and user must be there too."""

    _tokens: Tokens
    _store: Store
    _now: Callable[[], float]  # seconds since the epoch
    _observed: Callable[[str, str], object] = lambda method, outcome: None  # "success", or why not

    async def identify(self, token: str, host: str = "") -> Identity:
        is_credential = token.startswith(PREFIX)
        method = CREDENTIAL if is_credential else TOKEN
        try:
            identity = await (self._by_credential(token) if is_credential else self._by_token(token))
        except Refusal as refusal:
            self._observed(method, refusal.reason)
            raise
        self._observed(method, "success")
        return identity

    async def _by_credential(self, secret: str) -> Identity:
        id = id_of(secret)  # what was mistyped costs no read
        rows = (await self._store.read(Query("credential_by_id", {"id": id}))).results[0]
        if not rows:
            raise Unauthorized("Credential unknown or revoked", "revoked")
        (row,) = rows
        if not compare_digest(row["hash"], digest(secret)):
            raise Unauthorized("Invalid credential")
        until = float("inf") if row["expires_at"] is None else seconds(row["expires_at"])
        if until <= self._now():
            raise Unauthorized("Credential expired", "expired")
        return Identity(row["user_id"], id, until, row["name"], grants.read(row["grants"]))

    async def _by_token(self, token: str) -> Identity:
        claims = self._tokens.verify(token)
        params = {"id": claims.session_id, "user_id": claims.user_id, "now": timestamp(self._now())}
        if not (await self._store.read(Query("session_live", params))).results[0]:
            raise Unauthorized("Token revoked", "revoked")
        return Identity(claims.user_id, claims.session_id, claims.until, since=claims.since)
