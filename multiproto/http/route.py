"""What a route may ask of the request it answers, and what routes are made of."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Protocol
from urllib.parse import parse_qsl

from attrs import define, frozen

from ..base import strict_json
from ..core.client_info import ClientInfo
from ..core.errors import InvalidInput, Unauthorized
from ..core.identity import Identity, check_full_access
from ..core.ports import Authenticator
from .envelope import JsonResponse, RawResponse, UnsupportedMediaType
from .request import HttpRequest

MAX_PARAMS = 100  # in a query or a form


class IncomingRequest(Protocol):
    """A request, whoever read it."""

    @property
    def client_address(self) -> str:
        """The client's."""

    @property
    def query(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    def first_header(self, name: bytes) -> bytes | None:
        """The first header of that name, in lower case."""


@define(eq=False, repr=False)
class RequestContext:
    request: IncomingRequest
    _authenticator: Authenticator
    _route: Route

    @property
    def client_address(self) -> str:
        """The client's address."""
        return self.request.client_address

    @property
    def http_request(self) -> HttpRequest:
        """For a route that is not `whole`, which writes its answer itself."""
        assert isinstance(self.request, HttpRequest)
        return self.request

    @property
    def client(self) -> ClientInfo:
        return ClientInfo("rest", self.client_address, self.header("user-agent") or "")

    async def authenticate(self) -> Identity:
        """Whose bearer token or credential came in the header: the only place it is read from.

        Raises `Forbidden` for a credential on a route that is not about topics.
        """
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthorized("Send a bearer token")
        who = await self._authenticator.authenticate(token.strip(), self.client)
        if not self._route.allows_credentials:
            check_full_access(who)
        return who

    def header(self, name: str) -> str | None:
        value = self.request.first_header(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def query_params(self) -> dict[str, str]:
        return _parse_params(self.request.query, "query")

    def body_fields(self) -> dict[str, Any]:
        """The body, an object.  Raises `InvalidInput`, or `UnsupportedMediaType` for what is neither JSON nor a form."""
        kind = _parse_media_type(self.header("content-type") or "application/json")
        if self.header("content-encoding") not in (None, "identity"):
            raise UnsupportedMediaType("The body must not be compressed")
        body = self.request.body
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
    """`path` is a template such as /users/:id; `handler` gives `None` when it wrote its own answer.

    Only a route that says so lets those in who came with a credential.
    """

    method: str
    path: str
    handler: RouteHandler
    allows_credentials: bool = False
    whole: bool = True  # it gives a `JsonResponse` or a `RawResponse`
    fits: Callable[[Mapping[bytes, bytes]], bool] | None = None  # whether it is for such headers


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
