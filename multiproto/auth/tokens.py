"""Signs and verifies access tokens, which are JWTs (docs/common.md#access-tokens).

A token is parsed strictly: three parts in canonical base64url, a header that
names one of our keys, then the signature of that key, and only then the claims.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from typing import Any, Callable

import jwt
from attrs import define, frozen
from jwt import api_jws

from ..base import strict_json
from ..core.errors import Unauthorized
from .keys import KeyRing, VerificationKey

MAX_TOKEN_LENGTH = 4096  # characters; ours have some 400
MAX_TIMESTAMP = 2**53  # the largest integer that a float has exactly

# Base64url without padding, which PyJWT would accept.  PyJWT checks unused bits itself (RFC 4648, 3.5).
_COMPACT = re.compile(r"([A-Za-z0-9_-]++)\.[A-Za-z0-9_-]++\.[A-Za-z0-9_-]++")

_STRING_CLAIMS = ("userId", "email", "sid", "jti")
_TIME_CLAIMS = ("iat", "exp")
# Our tokens have none of these; one that has was made with our key for another service.
_FORBIDDEN_CLAIMS = {"aud", "iss", "nbf"}


@frozen
class Claims:
    """The claims of a valid token."""

    user_id: str
    session_id: str
    expires_at: float  # seconds since the epoch
    issued_at: float  # seconds since the epoch


@define(eq=False, repr=False)
class JwtTokens:
    _current_keys: Callable[[], KeyRing]  # available once the server starts
    _lifetime_seconds: int
    lifetime: str  # as configured, e.g. "15m"
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        issued = int(self._now())
        claims = {
            "userId": user_id,
            "email": email,
            "iat": issued,
            "exp": issued + self._lifetime_seconds,
            "typ": "access",
            "sid": session_id,
            "jti": self._new_id(),
        }
        signer = self._current_keys().signing_key
        named = {"kid": signer.verification_key.id} if signer.verification_key.id else None
        return jwt.encode(claims, signer.material, signer.verification_key.algorithm, named)

    def verify(self, token: str) -> Claims:
        """Raises `Unauthorized` for anything but an unexpired token of ours."""
        claims = self._verified_claims(token)
        if not _is_well_formed(claims):
            raise Unauthorized("Invalid token")
        if claims["exp"] <= self._now():
            raise Unauthorized("Token has expired", "expired")
        return Claims(claims["userId"], claims["sid"], float(claims["exp"]), float(claims["iat"]))

    def _verified_claims(self, token: str) -> Any:
        """The signed JSON value, whatever it is."""
        key = self._find_key(token)
        if key is None:
            raise Unauthorized("Invalid token")
        try:
            return strict_json.loads(api_jws.decode(token, key.jwk, [key.algorithm]))
        except (jwt.PyJWTError, strict_json.InvalidJson):
            raise Unauthorized("Invalid token") from None

    def _find_key(self, token: str) -> VerificationKey | None:
        parts = _COMPACT.fullmatch(token) if len(token) <= MAX_TOKEN_LENGTH else None
        if parts is None:
            return None
        header = parts[1]
        try:
            return self._current_keys().find(
                strict_json.loads(urlsafe_b64decode(header + "=" * (-len(header) % 4)))
            )
        except ValueError:  # of base64 or of JSON
            return None


def _is_well_formed(claims: object) -> bool:
    return (
        isinstance(claims, dict)
        and claims.get("typ") == "access"
        and all(isinstance(claims.get(name), str) and claims[name] for name in _STRING_CLAIMS)
        and all(type(claims.get(name)) is int and 0 <= claims[name] <= MAX_TIMESTAMP for name in _TIME_CLAIMS)
        and _FORBIDDEN_CLAIMS.isdisjoint(claims)
    )
