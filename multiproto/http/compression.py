"""Compresses responses, where clients accept it and it is worth it, and decompresses the bodies of requests."""

from __future__ import annotations

import gzip
import zlib

from ..base.accept import parse_weights
from ..core.errors import InvalidInput, TooLarge

MIN_SIZE = 1024  # bytes; below, the headers and the work cost more than they save
_GZIP_LEVEL = 1  # on the reactor's thread: a third of the time of level 6, nearly as small for JSON


def compress(data: bytes) -> bytes:
    return gzip.compress(data, _GZIP_LEVEL, mtime=0)


def decompress(data: bytes, max_bytes: int) -> bytes:
    """What is compressed in `data`, of which no more than `max_bytes` are ever in memory.

    One member of gzip, and nothing behind it: each of 50,000 in a body would cost a copy of the rest.
    Raises `InvalidInput`, `TooLarge`.
    """
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)  # gzip, with its header and checksum
    try:
        plain = inflater.decompress(data, max_bytes + 1)
    except zlib.error:
        raise InvalidInput("The body is not in gzip, as its Content-Encoding says") from None
    if len(plain) > max_bytes:
        raise TooLarge(f"A body has at most {max_bytes} bytes, decompressed")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("The body must be one member of gzip, and a whole one")
    return plain


def is_compressible(content_type: bytes) -> bool:
    media_type = content_type.partition(b";")[0].strip().lower()
    return media_type.startswith(b"text/") or media_type.endswith((b"json", b"javascript", b"svg+xml"))


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether the value of an `Accept-Encoding` allows gzip (RFC 9110, 12.5.3)."""
    weights = dict(parse_weights(accept_encoding.decode("latin-1")))
    return weights.get("gzip", weights.get("*", 0.0)) > 0
