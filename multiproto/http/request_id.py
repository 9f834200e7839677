"""One id for a request and everything it causes, given by the client or made here (docs/rest.md#requests)."""

from __future__ import annotations

import re

from .codec import RequestHead

REQUEST_ID_HEADERS = (b"x-correlation-id", b"x-request-id")

_VALID_ID = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id_of(head: RequestHead) -> str | None:
    """The first fit one that the client sent."""
    for name in REQUEST_ID_HEADERS:
        for value in head.values(name):
            if _VALID_ID.fullmatch(value):
                return value.decode("ascii")
    return None
