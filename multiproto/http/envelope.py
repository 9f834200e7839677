"""The envelope of every JSON answer (docs/rest.md#answers)."""

from __future__ import annotations

from math import ceil

from attrs import define, field, frozen

from ..base import strict_json
from ..core.errors import InvalidInput, NotFound, RateLimited, Refusal, TooLarge, Unauthorized, Unavailable
from ..core.model import format_timestamp
from .codec import HttpProtocolError

JSON_CONTENT_TYPE = b"application/json"

ResponseHeaders = tuple[tuple[bytes, bytes], ...]
NO_STORE: ResponseHeaders = ((b"Cache-Control", b"no-store"),)


@define
class JsonResponse:
    """`data` of `None` is an answer without a body: 204.

    Not to be changed; one of each request is made, and a frozen one takes three times as long.
    """

    status: int
    data: object = field(default=None, repr=False)
    cursor: str | None = None
    without_envelope: bool = False  # outside the envelope, as health is


@frozen
class RawResponse:
    """An answer that has its bytes already."""

    status: int
    content_type: bytes
    body: bytes = field(repr=False)
    headers: ResponseHeaders = ()  # of its own


class UnsupportedMediaType(InvalidInput):
    """A body of a kind that this server does not read."""

    status = 415


class MethodNotAllowed(InvalidInput):
    """The route is there, but not for this method."""

    status = 405

    def __init__(self, message: str, allowed: str) -> None:
        """`allowed` are the methods that it is there for."""
        super().__init__(message)
        self.allowed = allowed


def route_not_found(path: str) -> Refusal:
    return NotFound.of("Route", path)


def refusal_for_protocol_error(fault: HttpProtocolError) -> tuple[int, Refusal]:
    """(status, refusal) that tell a client of `fault`."""
    match fault.status:
        case 413:
            return 413, TooLarge(fault.message)
        case 429:
            return 429, RateLimited(fault.message, retry_after=fault.retry_after)
        case 503:
            return 503, Unavailable(fault.message)
        case status:
            return status, InvalidInput(fault.message)


def success_body(answer: JsonResponse, now: float) -> bytes:
    """`now` in seconds since the epoch."""
    if answer.without_envelope:
        return strict_json.dumps(answer.data)
    shown: dict[str, object] = {"success": True, "data": answer.data}
    if answer.cursor is not None:
        shown["cursor"] = answer.cursor
    return strict_json.dumps(shown | {"timestamp": format_timestamp(now)})


def error_body(refusal: Refusal, now: float) -> bytes:
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.details is not None:
        error["details"] = refusal.details
    return strict_json.dumps({"success": False, "error": error, "timestamp": format_timestamp(now)})


def error_headers(refusal: Refusal) -> ResponseHeaders:
    """A 401 says how to authenticate (RFC 9110, 15.5.2), a 405 which methods there are (15.5.6), and one that
    may be tried again says when (10.2.3)."""
    if isinstance(refusal, MethodNotAllowed):
        return ((b"Allow", refusal.allowed.encode("ascii")),)
    if refusal.retry_after is not None:
        return ((b"Retry-After", b"%d" % ceil(refusal.retry_after)),)
    return ((b"WWW-Authenticate", b"Bearer"),) if isinstance(refusal, Unauthorized) else ()
