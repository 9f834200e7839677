"""Compresses responses, and decides which are worth it and which clients accept it."""

from __future__ import annotations

import gzip

from ..base.accept import parse_weights

MIN_SIZE = 1024  # bytes; below, the headers and the work cost more than they save
_GZIP_LEVEL = 1  # on the reactor's thread: a third of the time of level 6, nearly as small for JSON


def compress(data: bytes) -> bytes:
    return gzip.compress(data, _GZIP_LEVEL, mtime=0)


def is_compressible(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type.startswith(b"text/") or media_type.endswith((b"json", b"javascript", b"svg+xml"))


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether the value of an `Accept-Encoding` allows gzip (RFC 9110, 12.5.3)."""
    weights = dict(parse_weights(accept_encoding.decode("latin-1")))
    return weights.get("gzip", weights.get("*", 0.0)) > 0
