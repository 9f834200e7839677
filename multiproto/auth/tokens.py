"""Access tokens: signed here, verified here, nowhere else (contract, section 1).

HS256 only: a token that names any other algorithm is refused before its
signature is looked at (RFC 8725, 3.1).
"""

from __future__ import annotations

from typing import Any, Callable, Mapping

import jwt
from attrs import define, frozen

from ..core.errors import Unauthorized

ALGORITHM = "HS256"
MAX_TOKEN = 4096  # characters; ours have some 400

_STRINGS = ("userId", "email", "sid", "jti")
_TIMES = ("iat", "exp")


@frozen
class Claims:
    """What a valid token says."""

    user_id: str
    session_id: str
    until: float  # seconds since the epoch
    since: float  # when it was issued, likewise


@define(eq=False, repr=False)
class Tokens:
    _secret: Callable[[], str]  # known once the server starts
    _seconds: int  # that a token is good for
    lifetime: str  # the same, as configured, e.g. "15m"
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]

    def issue(self, user_id: str, email: str, session_id: str) -> str:
        issued = int(self._now())
        claims = {
            "userId": user_id,
            "email": email,
            "iat": issued,
            "exp": issued + self._seconds,
            "typ": "access",
            "sid": session_id,
            "jti": self._new_id(),
        }
        return jwt.encode(claims, self._secret(), ALGORITHM)

    def verify(self, token: str) -> Claims:
        """Raises `Unauthorized` for anything but a token of ours in its time."""
        if len(token) > MAX_TOKEN:
            raise Unauthorized("Invalid token")
        try:
            # Times are checked below, against our clock, not PyJWT's.
            options: Any = {"verify_signature": True, "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, self._secret(), [ALGORITHM], options)
        except (jwt.PyJWTError, ValueError):
            raise Unauthorized("Invalid token") from None
        if not _well_formed(claims):
            raise Unauthorized("Invalid token")
        if claims["exp"] <= self._now():
            raise Unauthorized("Token expired", "expired")
        return Claims(claims["userId"], claims["sid"], float(claims["exp"]), float(claims["iat"]))


def _well_formed(claims: Mapping[str, object]) -> bool:
    return (
        claims.get("typ") == "access"
        and all(isinstance(claims.get(name), str) for name in _STRINGS)
        and all(type(claims.get(name)) is int for name in _TIMES)
    )
