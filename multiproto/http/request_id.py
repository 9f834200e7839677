"""The id of a request and everything it causes, sent by the client or made here (docs/rest.md#requests)."""

from __future__ import annotations

import re

from .codec import RequestHead

REQUEST_ID_HEADERS = (b"x-correlation-id", b"x-request-id")

_VALID_ID = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id_of(head: RequestHead) -> str | None:
    """The first valid id that the client sent, or `None`."""
    for name in REQUEST_ID_HEADERS:
        for value in head.values(name):
            if _VALID_ID.fullmatch(value):
                return value.decode("ascii")
    return None
