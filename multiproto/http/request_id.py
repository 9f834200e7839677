"""One id for a request and everything it causes, given by the client or made here (contract, section 2)."""

from __future__ import annotations

import re
from typing import Callable

from twisted.web.http_headers import Headers

REQUEST_ID_HEADERS = (b"X-Correlation-ID", b"X-Request-ID")

_VALID_ID = re.compile(rb"[\x21-\x7e]{1,128}")


def request_id_of(headers: Headers, new_id: Callable[[], str]) -> str:
    """The first fit one that the client sent, or a new one."""
    for name in REQUEST_ID_HEADERS:
        for value in headers.getRawHeaders(name, ()):
            if found := valid_request_id(value):
                return found
    return new_id()


def valid_request_id(value: bytes | None) -> str | None:
    """What a client sent, if it will do."""
    return value.decode("ascii") if value is not None and _VALID_ID.fullmatch(value) else None
