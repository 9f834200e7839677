"""A GraphQL request: a document, the operation to execute and its variables, from JSON parameters."""

from __future__ import annotations

from typing import Any, Mapping

from attrs import field, frozen

from ...core.errors import InvalidInput
from ...core.validation import misspelt_fields
from .persisted_queries import parse_hash

PARAMETERS = ("query", "operationName", "variables", "extensions")


class BadGraphQLRequest(InvalidInput):
    """The parameters of the request are not valid."""

    name = "BAD_REQUEST"


@frozen
class GraphQLRequest:
    """One request: document, operation name, variables, hash (GraphQL over HTTP, "Request parameters")."""

    query: str = field(repr=False)  # a password may be written into it
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = field(default=None, repr=False)
    persisted_hash: str | None = None  # the SHA-256 of the query, which may then be empty


def parse_request(value: object) -> GraphQLRequest:
    """A request from its parameters, as a body or the `subscribe` message of a socket has them."""
    if not isinstance(value, dict):
        raise BadGraphQLRequest("A request must be an object")
    query, name, variables = value.get("query"), value.get("operationName"), value.get("variables")
    persisted = _parse_persisted_hash(value.get("extensions"))
    missing = ("query",) if query is None and persisted is None else ()
    unknown = (name for name in value if name not in PARAMETERS)
    for error in misspelt_fields(unknown, PARAMETERS[1:], missing):
        raise BadGraphQLRequest(f"{error.path[0]}: {error.message}")
    if query is None and persisted is not None:
        query = ""
    elif not isinstance(query, str) or not query:
        raise BadGraphQLRequest("query must be a non-empty string")
    if name is not None and not isinstance(name, str):
        raise BadGraphQLRequest("operationName must be a string")
    for parameter in ("variables", "extensions"):
        if not isinstance(value.get(parameter), (dict, type(None))):
            raise BadGraphQLRequest(f"{parameter} must be an object")
    return GraphQLRequest(query, name or None, variables, persisted)


def _parse_persisted_hash(extensions: object) -> str | None:
    if not isinstance(extensions, dict) or extensions.get("persistedQuery") is None:
        return None
    name = parse_hash(extensions["persistedQuery"])
    if name is None:
        raise BadGraphQLRequest("persistedQuery must have version 1, and in sha256Hash 64 hexadecimal digits")
    return name
