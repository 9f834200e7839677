"""The token in an Authorization header (RFC 6750, 2.1)."""

from __future__ import annotations


def parse_bearer(authorization: str) -> str | None:
    """The token, empty where the scheme stands alone; `None` where it is another scheme or there is none."""
    scheme, _, token = authorization.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
