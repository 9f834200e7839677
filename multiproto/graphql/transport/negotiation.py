"""What an HTTP request asks for and how it wants the answer: pure functions (GraphQL over HTTP)."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Mapping, Sequence

from ...base import strict_json
from ...base.accept import parse_weights
from ..execution.request import BadGraphQLRequest, GraphQLRequest, parse_request

JSON_TYPE = "application/json"
GRAPHQL_RESPONSE_TYPE = "application/graphql-response+json"
EVENT_STREAM_TYPE = "text/event-stream"
HTML_TYPE = "text/html"

SUPPORTED_TYPES = (
    JSON_TYPE,
    GRAPHQL_RESPONSE_TYPE,
    EVENT_STREAM_TYPE,
    HTML_TYPE,
)  # the first also for `*/*` and for whatever we do not know


@lru_cache(256)
def parse_accept(header: str | None) -> tuple[str, ...]:
    """The media types of `SUPPORTED_TYPES` that an Accept header names, the most wanted first (RFC 9110, 12.5.1)."""
    wanted: list[tuple[float, str]] = []
    for media, quality in parse_weights(header or "*/*"):
        media = JSON_TYPE if media in ("*/*", "application/*") else media
        if media in SUPPORTED_TYPES and quality > 0:
            wanted.append((-quality, media))
    return tuple(media for _, media in sorted(wanted, key=lambda pair: pair[0]))


def select_media_type(wanted: Sequence[str]) -> str:
    """What a whole result is sent as, or `EVENT_STREAM_TYPE` if even that is wanted as a stream."""
    return next(
        (media for media in wanted if media in (JSON_TYPE, GRAPHQL_RESPONSE_TYPE, EVENT_STREAM_TYPE)),
        JSON_TYPE,
    )


def is_json_content_type(content_type: str | None) -> bool:
    """Whether a body is `application/json` in UTF-8.

    Nothing else is read: a form of a foreign page can't send this type without
    asking first, so it can't make a browser change anything here.
    """
    media, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = [p.partition("=")[2].strip('" ') for p in parameters if p.startswith("charset=")]
    return media == JSON_TYPE and all(charset in ("utf-8", "utf8") for charset in charsets)


def parse_body(body: bytes, most: int) -> GraphQLRequest | list[GraphQLRequest]:
    """One request or a batch of at most `most`.  Raises `BadGraphQLRequest`."""
    value = _parse_json(body, "The body")
    if not isinstance(value, list):
        return parse_request(value)
    if not 1 <= len(value) <= most:
        raise BadGraphQLRequest(f"A batch has 1 to {most} requests")
    return [parse_request(member) for member in value]


def parse_query_string(args: Mapping[bytes, Sequence[bytes]]) -> GraphQLRequest:
    """The request in a URL, whose variables and extensions are JSON.  Raises `BadGraphQLRequest`."""
    fields: dict[str, Any] = {}
    for name in ("query", "operationName"):
        for value in args.get(name.encode(), ())[:1]:
            try:
                fields[name] = value.decode()
            except UnicodeDecodeError:
                raise BadGraphQLRequest(f"{name} must be UTF-8") from None
    for name in ("variables", "extensions"):
        for value in args.get(name.encode(), ())[:1]:
            fields[name] = _parse_json(value, name)
    return parse_request(fields)


def _parse_json(text: bytes, what: str) -> Any:
    try:
        return strict_json.loads(text)
    except strict_json.InvalidJson as fault:
        raise BadGraphQLRequest(f"{what} must be JSON: {fault}") from None
