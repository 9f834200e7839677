"""Which answers are worth compressing, for whom, and how."""

from __future__ import annotations

import gzip

from twisted.web.http_headers import Headers

SMALLEST = 1024  # bytes; below, the headers and the work cost more than they save
_LEVEL = 1  # on the reactor's thread: a third of the time of level 6, nearly as small for JSON


def compress(data: bytes, head: Headers, accepted: bytes | None) -> bytes:
    """What goes out for `data`, the first bytes of an answer; `head` is told if that is another."""
    whole = head.getRawHeaders(b"content-length", [b""])[-1] == b"%d" % len(data)
    if not whole or len(data) <= SMALLEST or head.hasHeader(b"content-encoding"):
        return data
    head.addRawHeader(b"Vary", b"Accept-Encoding")
    kind = head.getRawHeaders(b"content-type", [b""])[-1]
    small = compressed(data, kind, accepted or b"")
    if small is None:
        return data
    head.setRawHeaders(b"Content-Encoding", [b"gzip"])
    head.setRawHeaders(b"Content-Length", [b"%d" % len(small)])
    return small


def compressed(body: bytes, content_type: bytes, accepted: bytes) -> bytes | None:
    """`body` in gzip, or `None` where it goes out as it is."""
    if len(body) <= SMALLEST or not _is_text(content_type) or not accepts_gzip(accepted):
        return None
    return gzip.compress(body, _LEVEL, mtime=0)


def accepts_gzip(accepted: bytes) -> bool:
    """What an `Accept-Encoding` says of gzip (RFC 9110, 12.5.3)."""
    weights = {}
    for member in accepted.lower().split(b","):
        coding, *parameters = (part.strip() for part in member.split(b";"))
        zero = any(parameter in (b"q=0", b"q=0.0", b"q=0.00", b"q=0.000") for parameter in parameters)
        weights[coding] = not zero
    return weights.get(b"gzip", weights.get(b"*", False))


def _is_text(content_type: bytes) -> bool:
    kind = content_type.partition(b";")[0].strip().lower()
    return kind.startswith(b"text/") or kind.endswith((b"json", b"javascript", b"svg+xml"))
