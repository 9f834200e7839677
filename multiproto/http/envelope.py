"""The envelope of every JSON response (docs/rest.md#answers)."""

from __future__ import annotations

from math import ceil
from typing import Any

from attrs import define, field, frozen

from ..base import strict_json
from ..base.timestamps import format_timestamp
from ..core.errors import InvalidInput, NotFound, RateLimited, Refusal, TooLarge, Unauthorized, Unavailable
from ..core.model import PageOf
from .codec import HttpProtocolError

JSON_CONTENT_TYPE = b"application/json"

ResponseHeaders = tuple[tuple[bytes, bytes], ...]
NO_STORE: ResponseHeaders = ((b"Cache-Control", b"no-store"),)


@define
class JsonResponse:
    """A JSON response; with `data` of `None`, one without a body (204).

    Treat it as immutable: each request makes one, and a frozen one takes three times as long.
    """

    status: int
    data: object = field(default=None, repr=False)
    cursor: str | None = None
    without_envelope: bool = False  # `data` is the whole body, as for /health


@frozen
class RawResponse:
    """A response whose body is encoded already."""

    status: int
    content_type: bytes
    body: bytes = field(repr=False)
    headers: ResponseHeaders = ()  # besides Content-Type and Content-Length


class UnsupportedMediaType(InvalidInput):
    """A body of a media type that this server does not accept."""

    status = 415


class UnsupportedContentCoding(UnsupportedMediaType):
    """A body with a content coding that this server does not decode."""


class MethodNotAllowed(InvalidInput):
    """There is a route for the path, but not for the method."""

    status = 405

    def __init__(self, message: str, allowed: str) -> None:
        """`allowed` lists the methods of the path, as in the Allow header."""
        super().__init__(message)
        self.allowed = allowed


def route_not_found(path: str) -> Refusal:
    return NotFound.of("Route", path)


def refusal_for_protocol_error(fault: HttpProtocolError) -> tuple[int, Refusal]:
    """The (status, refusal) that a client receives for `fault`."""
    match fault.status:
        case 413:
            return 413, TooLarge(fault.message)
        case 429:
            limited = RateLimited(fault.message)
            limited.retry_after = fault.retry_after
            return 429, limited
        case 503:
            return 503, Unavailable(fault.message)
        case status:
            return status, InvalidInput(fault.message)


def page_response(page: PageOf[Any]) -> JsonResponse:
    """The response with a page of a list, whose items have `to_json`."""
    items = [item.to_json() for item in page.items]
    return JsonResponse(200, {"data": items, "pagination": page.pagination()}, page.cursor)


def success_body(response: JsonResponse, now: float) -> bytes:
    """The body of a successful response; `now` is in seconds since the epoch."""
    if response.without_envelope:
        return strict_json.dumps(response.data)
    fields: dict[str, object] = {"success": True, "data": response.data}
    if response.cursor is not None:
        fields["cursor"] = response.cursor
    return strict_json.dumps(fields | {"timestamp": format_timestamp(now)})


def error_body(refusal: Refusal, now: float) -> bytes:
    """The body of an error; `now` is in seconds since the epoch."""
    error: dict[str, object] = {"code": refusal.code, "message": refusal.message}
    if refusal.details is not None:
        error["details"] = refusal.details
    return strict_json.dumps({"success": False, "error": error, "timestamp": format_timestamp(now)})


def error_headers(refusal: Refusal) -> ResponseHeaders:
    """The headers that an error needs: WWW-Authenticate for a 401 (RFC 9110, 15.5.2), Allow for a 405
    (15.5.6), Accept-Encoding for a 415 (15.5.16), Retry-After for one that may be retried (10.2.3)."""
    if isinstance(refusal, UnsupportedContentCoding):
        return ((b"Accept-Encoding", b"gzip"),)
    if isinstance(refusal, MethodNotAllowed):
        return ((b"Allow", refusal.allowed.encode("ascii")),)
    if refusal.retry_after is not None:
        return ((b"Retry-After", b"%d" % ceil(refusal.retry_after)),)
    return ((b"WWW-Authenticate", b"Bearer"),) if isinstance(refusal, Unauthorized) else ()
