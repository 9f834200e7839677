"""Parses a GraphQL request over HTTP and selects the media type of its response: pure functions."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Mapping, Sequence

from ...base import strict_json
from ...base.accept import parse_weights
from ...base.content_type import parse_content_type
from ..execution.request import PARAMETERS, BadGraphQLRequest, GraphQLRequest, parse_request

JSON_TYPE = "application/json"
DOCUMENT_TYPE = "application/graphql"
GRAPHQL_RESPONSE_TYPE = "application/graphql-response+json"
EVENT_STREAM_TYPE = "text/event-stream"
HTML_TYPE = "text/html"

QueryArgs = Mapping[bytes, Sequence[bytes]]

# The first is also the one for `*/*` and for unknown types.
SUPPORTED_TYPES = (JSON_TYPE, GRAPHQL_RESPONSE_TYPE, EVENT_STREAM_TYPE, HTML_TYPE)


class UnsupportedContentType(BadGraphQLRequest):
    """A body of a media type that this endpoint does not accept."""

    status = 415


@lru_cache(256)
def parse_accept(header: str | None) -> tuple[str, ...]:
    """The `SUPPORTED_TYPES` in an Accept header, the most preferred first (RFC 9110, 12.5.1)."""
    accepted: list[tuple[float, str]] = []
    for media, quality in parse_weights(header or "*/*"):
        media = JSON_TYPE if media in ("*/*", "application/*") else media
        if media in SUPPORTED_TYPES and quality > 0:
            accepted.append((-quality, media))
    return tuple(media for _, media in sorted(accepted, key=lambda pair: pair[0]))


def select_media_type(accepted: Sequence[str]) -> str:
    """The media type of a single result; `EVENT_STREAM_TYPE` if the client prefers a stream for it."""
    return next(
        (media for media in accepted if media in (JSON_TYPE, GRAPHQL_RESPONSE_TYPE, EVENT_STREAM_TYPE)),
        JSON_TYPE,
    )


def check_content_type(content_type: str | None) -> str:
    """The media type of a POST's body.  Raises `UnsupportedContentType`.

    No others are accepted: a page of another origin can't send these without a preflight
    request, so it can't make a browser change anything here (CSRF).
    """
    media_type, is_utf8 = parse_content_type(content_type or "")
    if media_type not in (JSON_TYPE, DOCUMENT_TYPE) or not is_utf8:
        raise UnsupportedContentType(f"The body must be {JSON_TYPE} or {DOCUMENT_TYPE}, in UTF-8")
    return media_type


def parse_body(body: bytes, max_batch: int) -> GraphQLRequest | list[GraphQLRequest]:
    """One request or a batch of at most `max_batch`.  Raises `BadGraphQLRequest`."""
    value = _parse_json(body)
    if not isinstance(value, list):
        return parse_request(value)
    if not 1 <= len(value) <= max_batch:
        raise BadGraphQLRequest(f"A batch has 1 to {max_batch} requests")
    return [parse_request(member) for member in value]


def parse_document(body: bytes, args: QueryArgs) -> GraphQLRequest:
    """The request whose document is the body, and whose other parameters are in the URL.

    Raises `BadGraphQLRequest`.
    """
    return parse_query_string({**args, b"query": [body]})


def parse_query_string(args: QueryArgs) -> GraphQLRequest:
    """The request in a URL, whose variables and extensions are JSON.  Raises `BadGraphQLRequest`.

    A parameter without a value, as a form leaves it, is none; one that is misspelt is refused, as in a body.
    """
    given = {name.decode(errors="replace"): [*filter(None, values)] for name, values in args.items()}
    return parse_request({name: _parse_parameter(name, values) for name, values in given.items() if values})


def _parse_parameter(name: str, values: Sequence[bytes]) -> Any:
    """The value of one parameter, and of an unknown one anything."""
    if name not in PARAMETERS:
        return None
    if len(set(values)) > 1:
        raise BadGraphQLRequest(f"{name} comes twice with different values")
    if name in ("variables", "extensions"):
        return _parse_json(values[0], f" in {name}")
    try:
        return values[0].decode()
    except UnicodeDecodeError:
        raise BadGraphQLRequest(f"{name} must be UTF-8") from None


def _parse_json(text: bytes, where: str = "") -> Any:
    try:
        return strict_json.loads(text)
    except strict_json.InvalidJson as fault:
        raise BadGraphQLRequest(f"Malformed JSON{where}: {fault}") from None
