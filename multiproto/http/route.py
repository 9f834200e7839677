"""Declares routes: method, path, handler and `Auth`; and the view of a request that handlers receive."""

from __future__ import annotations

from enum import Enum
from typing import Any, Awaitable, Callable

from attrs import define, field, frozen
from attrs.validators import instance_of

from ..base import strict_json
from ..base.content_type import parse_content_type
from ..core.client_info import ClientInfo
from ..core.errors import InvalidInput
from ..core.idempotency import check_key
from ..core.identity import Identity
from .envelope import JsonResponse, RawResponse, UnsupportedMediaType
from .request import HttpRequest
from .routing import CountedBy
from .urlencoded import parse_urlencoded


class Auth(Enum):
    """Who may call a route; every route declares it."""

    NONE = "none"  # anybody, without authentication
    LOGIN = "login"  # a logged-in user; a device's credential, which is for topics only, is refused
    SCOPED = "scoped"  # a logged-in user, or a credential, whose grants `policy` checks
    OPERATOR = "operator"  # a logged-in user who is one of `OPERATORS`


@define(eq=False, repr=False)
class RequestContext:
    """A request, as a route's handler sees it."""

    http_request: HttpRequest  # for a handler that writes its response itself
    _identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """The authenticated caller; a route declared with `Auth.NONE` has none."""
        assert self._identity is not None, "the route was declared with Auth.NONE"
        return self._identity

    @property
    def client_address(self) -> str:
        return self.http_request.client_address

    @property
    def client(self) -> ClientInfo:
        return ClientInfo("rest", self.client_address, self.header("user-agent") or "")

    def header(self, name: str) -> str | None:
        value = self.http_request.first_header(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def header_list(self, name: str) -> str | None:
        """All of a list that may have come in several lines."""
        value = self.http_request.joined_header(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def idempotency_key(self) -> str | None:
        """Raises `ValidationError`."""
        key = self.header("idempotency-key")
        return None if key is None else check_key(key, "Idempotency-Key")

    def query_params(self) -> dict[str, str]:
        return _parse_params(self.http_request.query, "query")

    def optional_body_fields(self) -> dict[str, Any]:
        """As `body_fields`; none, where the request has no body."""
        return self.body_fields() if self.http_request.body else {}

    def body_fields(self) -> dict[str, Any]:
        """The body, a JSON object or a form.  Raises `InvalidInput`, `UnsupportedMediaType`."""
        media_type, is_utf8 = parse_content_type(self.header("content-type") or "application/json")
        if not is_utf8:
            raise UnsupportedMediaType("The body must be in UTF-8")
        body = self.http_request.decoded_body()
        if media_type == "application/x-www-form-urlencoded":
            return dict(_parse_params(body, "body"))
        if media_type != "application/json" and not media_type.endswith("+json"):
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


# Called with a `RequestContext` and the parameters of the path.
RouteHandler = Callable[..., Awaitable[JsonResponse | RawResponse | None]]


@frozen
class Route:
    """One route of the REST API.

    `path` is a template such as /users/:id; `handler` returns `None` if it wrote the response itself.
    """

    method: str
    path: str
    handler: RouteHandler
    auth: Auth = field(validator=instance_of(Auth), kw_only=True)
    counted_by: CountedBy = field(kw_only=True)

    @counted_by.default
    def _default_counted_by(self) -> CountedBy:
        return CountedBy.ADDRESS if self.auth is Auth.NONE else CountedBy.TOKEN


def _parse_params(text: bytes, where: str) -> dict[str, str]:
    """Parse name=value&… into a dictionary; a name with two different values is refused."""
    try:
        pairs = [(name.decode(), value.decode()) for name, value in parse_urlencoded(text, where)]
    except UnicodeDecodeError:
        raise InvalidInput(f"The {where} is not UTF-8") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise InvalidInput(f"A field of the {where} comes twice with different values")
    return found
