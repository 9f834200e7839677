"""Which answers are worth compressing, for whom, and how."""

from __future__ import annotations

import gzip
from typing import Any

MIN_SIZE = 1024  # bytes; below, the headers and the work cost more than they save
_GZIP_LEVEL = 1  # on the reactor's thread: a third of the time of level 6, nearly as small for JSON


def compress_response(data: bytes, head: Any, accepted: bytes) -> bytes:
    """`data` as it goes out: in gzip where it is a whole answer and worth it, and `head` says so.

    `head` are the answer's headers, a `Headers`; `accepted` is the request's Accept-Encoding.
    """
    whole = _last_value(head, b"content-length") == b"%d" % len(data)
    if not whole or len(data) <= MIN_SIZE or head.hasHeader(b"content-encoding"):
        return data
    head.addRawHeader(b"Vary", b"Accept-Encoding")
    if not _is_compressible(_last_value(head, b"content-type")) or not accepts_gzip(accepted):
        return data
    small = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    head.setRawHeaders(b"Content-Encoding", [b"gzip"])
    head.setRawHeaders(b"Content-Length", [b"%d" % len(small)])
    return small


def shrunk(text: bytes, accepted: bytes) -> bytes | None:
    """The same for a whole answer of text that is not encoded: `None` where size alone decides against it."""
    if len(text) <= MIN_SIZE:
        return None
    return gzip.compress(text, _GZIP_LEVEL, mtime=0) if accepts_gzip(accepted) else text


def accepts_gzip(accepted: bytes) -> bool:
    """What an `Accept-Encoding` says of gzip (RFC 9110, 12.5.3)."""
    weights = {}
    for member in accepted.lower().split(b","):
        coding, *parameters = (part.strip() for part in member.split(b";"))
        zero = any(parameter in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000") for parameter in parameters)
        weights[coding] = not zero
    return weights.get(b"gzip", weights.get(b"*", False))


def _last_value(head: Any, name: bytes) -> bytes:
    return bytes(head.getRawHeaders(name, [b""])[-1])


def _is_compressible(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind.startswith(b"text/") or kind.endswith((b"json", b"javascript", b"svg+xml"))
