"""The one door for all wires: from a token or a credential to an identity that still exists."""

from __future__ import annotations

from hmac import compare_digest
from typing import Callable

from attrs import define

from ..base.timestamps import parse_timestamp
from ..core.errors import Refusal, Unauthorized
from ..core.identity import Identity
from ..core.model import format_timestamp
from ..core.ports import Store
from ..core.pubsub import permissions
from ..core.transactions import Query
from .credential_format import PREFIX, hash_secret, parse_credential_id
from .tokens import JwtTokens

TOKEN, CREDENTIAL = "token", "credential"  # methods, as metrics call them


def auth_method_of(who: Identity) -> str:
    """What they came with."""
    return TOKEN if who.grants is None else CREDENTIAL


@define(eq=False, repr=False)
class StoreAuthenticator:
    """`core.ports.Gate`: a good signature is not enough, its session and user must be there too."""

    _tokens: JwtTokens
    _store: Store
    _now: Callable[[], float]  # seconds since the epoch
    _on_authentication: Callable[[str, str], object] = lambda method, outcome: None  # "success", or why not

    async def authenticate(self, token: str, host: str = "") -> Identity:
        is_credential = token.startswith(PREFIX)
        method = CREDENTIAL if is_credential else TOKEN
        try:
            identity = await (self._by_credential(token) if is_credential else self._by_token(token))
        except Refusal as refusal:
            self._on_authentication(method, refusal.reason)
            raise
        self._on_authentication(method, "success")
        return identity

    async def _by_credential(self, secret: str) -> Identity:
        id = parse_credential_id(secret)  # what was mistyped costs no read
        rows = (await self._store.read(Query("credential_by_id", {"id": id}))).results[0]
        if not rows:
            raise Unauthorized("Credential unknown or revoked", "revoked")
        (row,) = rows
        if not compare_digest(row["hash"], hash_secret(secret)):
            raise Unauthorized("Invalid credential")
        until = float("inf") if row["expires_at"] is None else parse_timestamp(row["expires_at"])
        if until <= self._now():
            raise Unauthorized("Credential expired", "expired")
        return Identity(row["user_id"], id, until, row["name"], permissions.deserialize(row["grants"]))

    async def _by_token(self, token: str) -> Identity:
        claims = self._tokens.verify(token)
        params = {"id": claims.session_id, "user_id": claims.user_id, "now": format_timestamp(self._now())}
        if not (await self._store.read(Query("session_live", params))).results[0]:
            raise Unauthorized("Token revoked", "revoked")
        return Identity(claims.user_id, claims.session_id, claims.expires_at, issued_at=claims.issued_at)
