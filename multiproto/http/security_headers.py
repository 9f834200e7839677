"""Response headers that restrict what browsers do with a response."""

from __future__ import annotations

# A response that sets one of these itself, as a page with scripts must, keeps its own.
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"X-Frame-Options", b"DENY"),
)
# Only over TLS: a browser ignores it elsewhere (RFC 6797, 8.1).  A year, in seconds.
HSTS_HEADER = (b"Strict-Transport-Security", b"max-age=31536000; includeSubDomains")
