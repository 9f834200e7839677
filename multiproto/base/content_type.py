"""The Content-Type of a request's body (RFC 9110, 8.3)."""

from __future__ import annotations

from functools import lru_cache

MAX_PARAMETERS = 10
_UTF8 = ("utf-8", "utf8", "us-ascii")  # of which the last is a subset


@lru_cache(256)
def parse_content_type(header: str) -> tuple[str, bool]:
    """The media type in lower case, and whether its text is in UTF-8, as it is where no charset is named."""
    media_type, *parameters = (part.strip() for part in header.lower().split(";", MAX_PARAMETERS))
    named = (parameter.partition("=") for parameter in parameters)
    charsets = [value.strip('" ') for name, _, value in named if name.strip() == "charset"]
    return media_type, all(charset in _UTF8 for charset in charsets)
