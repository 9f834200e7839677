"""From a token or a credential to an identity that still has rights: the one way in, for every wire."""

from __future__ import annotations

from hmac import compare_digest
from typing import Callable, Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..base.timestamps import format_timestamp, parse_timestamp
from ..core.client_info import ClientInfo
from ..core.domain.failed_attempts import FailedAttempts
from ..core.errors import Refusal, Unauthorized
from ..core.identity import Identity
from ..core.ports import Store
from ..core.pubsub import permissions
from ..core.revocations import Revocations
from ..core.transactions import Query
from .credential_format import PREFIX, hash_secret, parse_credential_id
from .credential_usage import CredentialUsage
from .token_cache import TokenCache
from .tokens import JwtTokens

TOKEN, CREDENTIAL = "token", "credential"  # methods, as metrics name them


class AuthenticationObserver(Protocol):
    """Counts authentications and lookups in the cache, as `observe.metrics.Metrics` does."""

    def on_cache_lookup(self, found: bool, seconds: float) -> None:
        """A token was found in the cache, or not, after so long."""

    def auth(self, method: str, outcome: str) -> None:
        """An attempt by `method` ended with "success", or with the reason of its refusal."""


@define(eq=False, repr=False)
class TokenAuthenticator:
    """`core.ports.Authenticator`: a good signature is not enough, its session and user must exist, too."""

    _tokens: JwtTokens
    _store: Store
    _cache: TokenCache
    _usage: CredentialUsage
    _failed_attempts: FailedAttempts
    _revocations: Revocations
    _observer: AuthenticationObserver
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _earliest_now: Callable[[], float]  # likewise: sessions and credentials expire by it

    async def authenticate(self, token: str, client: ClientInfo = ClientInfo()) -> Identity:
        is_credential = token.startswith(PREFIX)
        method = CREDENTIAL if is_credential else TOKEN
        began = self._clock.seconds()
        identity = self._cache.get(token)
        self._observer.on_cache_lookup(identity is not None, self._clock.seconds() - began)
        try:
            if identity is None:
                seen = self._cache.version
                identity = await (self._verify_credential(token) if is_credential else self._verify(token))
                self._cache.put(token, identity, seen)
            if self._revocations.is_revoked(identity):  # since the store was asked
                raise Unauthorized("Token revoked", "revoked")
        except Refusal as refusal:
            self._observer.auth(method, refusal.reason)
            # Every client has a token that has expired, in time: that is no attempt at anything.
            if isinstance(refusal, Unauthorized) and refusal.reason != "expired":
                self._failed_attempts.record("token", refusal.reason, client)
            raise
        self._observer.auth(method, "success")
        if is_credential:
            self._usage.record(identity.session_id, client.address)
        return identity

    async def _verify(self, token: str) -> Identity:
        claims = self._tokens.verify(token)
        deadline = self._deadline(claims.expires_at, self._now())
        params = {
            "id": claims.session_id,
            "user_id": claims.user_id,
            "now": format_timestamp(self._earliest_now()),
        }
        if not (await self._store.read(Query("session_live", params))).results[0]:
            raise Unauthorized("Token revoked", "revoked")
        return Identity(
            claims.user_id,
            claims.session_id,
            claims.expires_at,
            issued_at=claims.issued_at,
            deadline=deadline,
        )

    async def _verify_credential(self, secret: str) -> Identity:
        id = parse_credential_id(secret)  # what was mistyped costs no read
        rows = (await self._store.read(Query("credential_by_id", {"id": id}))).results[0]
        if not rows:
            raise Unauthorized("Credential unknown or revoked", "revoked")
        (row,) = rows
        if not compare_digest(row["hash"], hash_secret(secret)):
            raise Unauthorized("Invalid credential")
        expires_at = float("inf") if row["expires_at"] is None else parse_timestamp(row["expires_at"])
        now = self._earliest_now()
        if expires_at <= now:
            raise Unauthorized("Credential expired", "expired")
        return Identity(
            row["user_id"],
            id,
            expires_at,
            row["name"],
            permissions.deserialize(row["grants"]),
            deadline=self._deadline(expires_at, now),
        )

    def _deadline(self, expires_at: float, now: float) -> float:
        """When `expires_at` comes, by the clock of the intervals."""
        return self._clock.seconds() + expires_at - now
