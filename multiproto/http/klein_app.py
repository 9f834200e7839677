"""The REST API on Klein: one table of routes, under `/api/v1` and its alias `/api`."""

from __future__ import annotations

import re
from typing import Any, Iterable, cast
from urllib.parse import unquote

from klein import Klein
from klein.resource import KleinResource
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import BaseConverter

from ..core.errors import Refusal
from ..core.ports import Authenticator
from . import envelope
from .envelope import JsonResponse
from .request import HttpRequest
from .route import RequestContext, Route

API_PREFIXES = ("/api/v1", "/api")  # the first one names a route in metrics

_PATH_PARAM = re.compile(r":([A-Za-z]+)")


class _PathSegmentConverter(BaseConverter):
    """One word of a path, in any characters; it comes in the spelling of `paths.canonical`."""

    def to_python(self, value: str) -> str:
        return unquote(value, errors="strict")


def make_klein_resource(
    access: Authenticator, clock: IReactorTime, api: Iterable[Route], bare: Iterable[Route]
) -> KleinResource:
    """A resource that answers the routes of `api` under each prefix, and those of `bare` as they are."""
    app = Klein()
    app.url_map.converters["text"] = _PathSegmentConverter
    app.url_map.merge_slashes = False  # an empty word is not to be redirected away
    for route in bare:
        _add_route(app, access, clock, route, "", route.path)
    for route in api:
        for prefix in API_PREFIXES:
            _add_route(app, access, clock, route, prefix, API_PREFIXES[0] + route.path)
    # Klein's types know only IRequest; the site hands it nothing but ours.
    for kind, handler in (
        (Refusal, _on_refusal),
        (HTTPException, _on_routing_error),
        (Exception, _on_unexpected_error),
    ):
        app.handle_errors(kind)(cast(Any, handler))
    return app.resource()


def _add_route(
    app: Klein, access: Authenticator, clock: IReactorTime, route: Route, prefix: str, template: str
) -> None:
    async def answer(request: HttpRequest, **words: str) -> bytes:
        request.route_template = template
        answer = await route.handler(RequestContext(request, access, route), **words)
        if answer is None:
            return b""
        assert isinstance(answer, JsonResponse)  # pages are given at mounts only
        if answer.data is None:
            return request.prepare_response(answer.status, b"", envelope.NO_STORE)
        return request.prepare_response(
            answer.status, envelope.success_body(answer, clock.seconds()), envelope.NO_STORE
        )

    path = prefix + _PATH_PARAM.sub(r"<text:\1>", route.path)
    app.route(path, methods=[route.method], endpoint=f"{route.method} {path}")(answer)


def _on_refusal(request: HttpRequest, failure: Failure) -> bytes:
    assert isinstance(failure.value, Refusal)
    return request.prepare_refusal(failure.value)


def _on_routing_error(request: HttpRequest, failure: Failure) -> bytes:
    path = request.path.decode("utf-8", "replace")
    if not isinstance(failure.value, MethodNotAllowed):
        return request.prepare_refusal(envelope.route_not_found(path))
    allowed = ", ".join(sorted({*(failure.value.valid_methods or ()), "OPTIONS"})).encode("ascii")
    if request.method == b"OPTIONS":
        return request.prepare_response(204, b"", ((b"Allow", allowed),))
    return request.prepare_refusal(envelope.MethodNotAllowed("Method not allowed"), ((b"Allow", allowed),))


def _on_unexpected_error(request: HttpRequest, failure: Failure) -> bytes:
    return request.prepare_internal_error(failure)
