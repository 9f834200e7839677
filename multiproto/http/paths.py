"""Decodes the path of a request into its segments, once and strictly."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from ..core.errors import InvalidInput

# The common case: nothing to decode, and no trailing slash.
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_.~/-]*[A-Za-z0-9_.~-]")


def decode_segments(path: bytes) -> tuple[str, ...]:
    """The decoded segments of `path`; a trailing slash makes no difference.  Raises `InvalidInput`.

    An encoded slash (%2F) stays within its segment.
    """
    if _PLAIN_PATH.fullmatch(path):
        return tuple(path.decode("ascii")[1:].split("/"))
    parts = path[1:].split(b"/")
    if parts[-1] == b"" and len(parts) > 1:
        del parts[-1]
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        raise InvalidInput("The path is not UTF-8") from None


def canonical_path(path: bytes, segments: tuple[str, ...]) -> str:
    """The spelling of `path` that routes are matched by; `segments` are its decoded segments.

    It is that of a route's rule: only a slash or a percent sign within a segment is encoded.
    """
    if _PLAIN_PATH.fullmatch(path):
        return path.decode("ascii")
    return "/" + "/".join([segment.replace("%", "%25").replace("/", "%2F") for segment in segments])
