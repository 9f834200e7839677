"""What the path of a request names: its segments, decoded once and strictly."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from ..core.errors import InvalidInput


def decode_segments(path: bytes) -> tuple[str, ...]:
    """The decoded segments; a slash at the end makes no difference.  Raises `InvalidInput`.

    A slash that came as %2F stays within its segment.
    """
    parts = path[1:].split(b"/")
    if parts[-1] == b"" and len(parts) > 1:
        del parts[-1]
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in parts)
    except UnicodeDecodeError:
        raise InvalidInput("The path is not UTF-8") from None


def canonical_segments(parts: tuple[str, ...]) -> list[bytes]:
    """`parts` in the one spelling that routes are looked up by."""
    return [quote(part, safe="").encode("ascii") for part in parts]
