"""What an HTTP request asks for and how it wants the answer: pure functions (GraphQL over HTTP)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Mapping, Sequence

from .. import jsontext
from ..core.errors import InvalidInput
from .execute import Request
from .persisted import named

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
EVENTS = "text/event-stream"
HTML = "text/html"

OFFERED = (JSON, RESPONSE, EVENTS, HTML)  # the first also for `*/*` and for whatever we do not know


class BadRequest(InvalidInput):
    """The request holds no operation that could be read."""

    name = "BAD_REQUEST"


@lru_cache(256)
def accepted(header: str | None) -> tuple[str, ...]:
    """The media types of `OFFERED` that an Accept header names, the most wanted first (RFC 9110, 12.5.1)."""
    wanted: list[tuple[float, str]] = []
    for item in (header or "*/*").split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        media = JSON if media in ("*/*", "application/*") else media
        quality = _quality(parameters)
        if media in OFFERED and quality > 0:
            wanted.append((-quality, media))
    return tuple(media for _, media in sorted(wanted, key=lambda pair: pair[0]))


def preferred(wanted: Sequence[str]) -> str:
    """What a whole result is sent as, or `EVENTS` if even that is wanted as a stream."""
    return next((media for media in wanted if media in (JSON, RESPONSE, EVENTS)), JSON)


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def is_json(content_type: str | None) -> bool:
    """Whether a body is `application/json` in UTF-8.

    Nothing else is read: a form of a foreign page can't send this type without
    asking first, so it can't make a browser change anything here.
    """
    media, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = [p.partition("=")[2].strip('" ') for p in parameters if p.startswith("charset=")]
    return media == JSON and all(charset in ("utf-8", "utf8") for charset in charsets)


def from_body(body: bytes, most: int) -> Request | list[Request]:
    """One request or a batch of at most `most`.  Raises `BadRequest`."""
    value = _json(body, "The body")
    if not isinstance(value, list):
        return request(value)
    if not 1 <= len(value) <= most:
        raise BadRequest(f"A batch has 1 to {most} requests")
    return [request(member) for member in value]


def from_query(args: Mapping[bytes, Sequence[bytes]]) -> Request:
    """The request in a URL, whose variables and extensions are JSON.  Raises `BadRequest`."""
    fields: dict[str, Any] = {}
    for name in ("query", "operationName"):
        for value in args.get(name.encode(), ())[:1]:
            try:
                fields[name] = value.decode()
            except UnicodeDecodeError:
                raise BadRequest(f"{name} must be UTF-8") from None
    for name in ("variables", "extensions"):
        for value in args.get(name.encode(), ())[:1]:
            fields[name] = _json(value, name)
    return request(fields)


def request(value: object) -> Request:
    """A request from its parameters, as a body or a socket's `subscribe` carries them."""
    if not isinstance(value, dict):
        raise BadRequest("A request must be an object")
    query, name, variables = value.get("query"), value.get("operationName"), value.get("variables")
    persisted = _persisted(value.get("extensions"))
    if query is None and persisted is not None:
        query = ""
    elif not isinstance(query, str) or not query:
        raise BadRequest("query must be a non-empty string")
    if name is not None and not isinstance(name, str):
        raise BadRequest("operationName must be a string")
    for field in ("variables", "extensions"):
        if not isinstance(value.get(field), (dict, type(None))):
            raise BadRequest(f"{field} must be an object")
    return Request(query, name or None, variables, persisted)


def _persisted(extensions: object) -> str | None:
    if not isinstance(extensions, dict) or extensions.get("persistedQuery") is None:
        return None
    name = named(extensions["persistedQuery"])
    if name is None:
        raise BadRequest("persistedQuery must have version 1, and in sha256Hash 64 hexadecimal digits")
    return name


def _json(text: bytes, what: str) -> Any:
    try:
        return jsontext.loads(text)
    except jsontext.NotJson as fault:
        raise BadRequest(f"{what} must be JSON: {fault}") from None
