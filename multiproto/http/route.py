"""What routes are made of, who may ask them, and what a handler may know of the request that it answers."""

from __future__ import annotations

from enum import Enum
from typing import Any, Awaitable, Callable
from urllib.parse import parse_qsl

from attrs import define, field, frozen
from attrs.validators import instance_of

from ..base import strict_json
from ..core.client_info import ClientInfo
from ..core.errors import InvalidInput
from ..core.identity import Identity
from .envelope import JsonResponse, RawResponse, UnsupportedMediaType
from .request import HttpRequest

MAX_PARAMS = 100  # in a query or a form


class Auth(Enum):
    """Who may ask a route; every route says so."""

    NONE = "none"  # anybody, and nobody is asked who they are
    LOGIN = "login"  # who has logged in; a credential of a device, which is for topics only, is refused
    SCOPED = "scoped"  # who has logged in, or comes with a credential: `policy` knows what that was granted
    OPERATOR = "operator"  # who has logged in and is one of `OPERATORS`


@define(eq=False, repr=False)
class RequestContext:
    """A request, as a route's handler sees it."""

    http_request: HttpRequest  # for a handler that writes its answer itself
    _identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who asks: proven before the handler is called, unless its route is for anybody."""
        assert self._identity is not None, "the route was declared with Auth.NONE"
        return self._identity

    @property
    def client_address(self) -> str:
        """The client's address."""
        return self.http_request.client_address

    @property
    def client(self) -> ClientInfo:
        return ClientInfo("rest", self.client_address, self.header("user-agent") or "")

    def header(self, name: str) -> str | None:
        value = self.http_request.first_header(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def query_params(self) -> dict[str, str]:
        return _parse_params(self.http_request.query, "query")

    def body_fields(self) -> dict[str, Any]:
        """The body, an object.  Raises `InvalidInput`, or `UnsupportedMediaType` for what is neither JSON nor a form."""
        kind = _parse_media_type(self.header("content-type") or "application/json")
        if self.header("content-encoding") not in (None, "identity"):
            raise UnsupportedMediaType("The body must not be compressed")
        body = self.http_request.body
        if kind == "application/x-www-form-urlencoded":
            return dict(_parse_params(body, "body"))
        if kind != "application/json" and not kind.endswith("+json"):
            raise UnsupportedMediaType(
                "The body must be application/json or application/x-www-form-urlencoded"
            )
        try:
            fields = strict_json.loads(body)
        except strict_json.InvalidJson as fault:
            raise InvalidInput(f"Malformed JSON: {fault}") from None
        if not isinstance(fields, dict):
            raise InvalidInput("The body must be a JSON object")
        return fields


RouteHandler = Callable[
    ..., Awaitable[JsonResponse | RawResponse | None]
]  # of a `RequestContext` and the words of the path


@frozen
class Route:
    """`path` is a template such as /users/:id; `handler` gives `None` when it wrote its own answer."""

    method: str
    path: str
    handler: RouteHandler
    auth: Auth = field(validator=instance_of(Auth), kw_only=True)


def _parse_media_type(header: str) -> str:
    """Without its parameters, in lower case; text in another character set than UTF-8 is refused."""
    kind, *parameters = (part.strip().lower() for part in header.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip('" ') not in ("utf-8", "utf8", "us-ascii"):
            raise UnsupportedMediaType("The body must be in UTF-8")
    return kind


def _parse_params(text: bytes, where: str) -> dict[str, str]:
    """name=value&… as a dictionary; what it can't hold is refused."""
    try:
        pairs = parse_qsl(
            text.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMS
        )
    except UnicodeDecodeError:
        raise InvalidInput(f"The {where} is not UTF-8") from None
    except ValueError:
        raise InvalidInput(f"The {where} has at most {MAX_PARAMS} fields") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise InvalidInput(f"A field of the {where} comes twice with different values")
    return found
