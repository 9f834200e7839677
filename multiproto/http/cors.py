"""Which web pages may read our responses: CORS of the Fetch standard (docs/rest.md#from-web-pages)."""

from __future__ import annotations

import re

from attrs import frozen

from .codec import TOKEN, split_list

CorsHeaders = tuple[tuple[bytes, bytes], ...]

_LOCALHOST_ORIGIN = re.compile(rb"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?")
_EXPOSED_HEADERS = (
    b"X-Correlation-ID, Retry-After, RateLimit-Policy, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
)
MAX_REQUEST_HEADERS = 50  # names that one preflight request may ask for
_ALLOW_METHODS = (b"Access-Control-Allow-Methods", b"GET, HEAD, POST, PUT, DELETE")
_KNOWN_HEADERS = (
    b"Authorization, Content-Type, Idempotency-Key, Last-Event-ID, X-Correlation-ID, X-Request-ID"
)
_MAX_AGE = (b"Access-Control-Max-Age", b"7200")  # seconds; browsers take no more


@frozen
class CorsPolicy:
    """The origins whose pages may read responses.

    `origins` are exact, as browsers send them, or `*` for any, without credentials.
    """

    origins: frozenset[str] = frozenset()
    allow_localhost: bool = False  # for development, where no origin is configured

    def allows_websocket(self, origin: str) -> bool:
        """Whether a page of `origin`, another than ours, may open a WebSocket.

        No cookie authenticates it, only a token that the page sends.
        """
        named = origin in self.origins or "*" in self.origins
        return named or (self.allow_localhost and _LOCALHOST_ORIGIN.fullmatch(origin.encode()) is not None)

    def response_headers(self, origin: bytes | None, secure: bool, host: bytes) -> CorsHeaders:
        """The headers to add to a response for a page of `origin`."""
        if origin is None:
            return ()
        if self._allows_credentials(origin, secure, host):
            return (
                (b"Access-Control-Allow-Origin", origin),
                (b"Access-Control-Allow-Credentials", b"true"),
                (b"Access-Control-Expose-Headers", _EXPOSED_HEADERS),
            )
        if "*" in self.origins:
            return (
                (b"Access-Control-Allow-Origin", b"*"),
                (b"Access-Control-Expose-Headers", _EXPOSED_HEADERS),
            )
        return ()

    def preflight_headers(self, origin: bytes, secure: bool, host: bytes, requested: bytes) -> CorsHeaders:
        """The headers of the response to a preflight request.

        `requested` lists the names of the headers that the page wants to send.  Whatever
        they are, they are allowed: libraries for tracing, as Sentry's, add some to each request.
        """
        allowed = self.response_headers(origin, secure, host)
        return allowed and (*allowed, _ALLOW_METHODS, *_allow_headers(requested), _MAX_AGE)

    def _allows_credentials(self, origin: bytes, secure: bool, host: bytes) -> bool:
        """Whether `origin` is configured, or is our own; a proxy may have terminated TLS."""
        own = (b"https://" + host,) if secure else (b"https://" + host, b"http://" + host)
        return (
            origin.decode("latin-1") in self.origins - {"*"}
            or origin in own
            or (self.allow_localhost and _LOCALHOST_ORIGIN.fullmatch(origin) is not None)
        )


def _allow_headers(requested: bytes) -> CorsHeaders:
    """Those of `requested`; those that this server knows, if it holds too many, or what is no name."""
    names = split_list(requested)
    if not names or len(names) > MAX_REQUEST_HEADERS or not all(map(TOKEN.fullmatch, names)):
        return ((b"Access-Control-Allow-Headers", _KNOWN_HEADERS),)
    return ((b"Access-Control-Allow-Headers", b", ".join(names)),)
