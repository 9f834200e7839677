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

from ..core.access import Access
from ..core.errors import Refusal
from . import answers
from .answers import Answer
from .call import Call, Route
from .request import Request

PREFIXES = ("/api/v1", "/api")  # the first one names a route in metrics

_WORD = re.compile(r":([A-Za-z]+)")


class _Text(BaseConverter):
    """One word of a path, in any characters; it comes in the spelling of `paths.canonical`."""

    def to_python(self, value: str) -> str:
        return unquote(value, errors="strict")


def make_api(
    access: Access, clock: IReactorTime, api: Iterable[Route], bare: Iterable[Route]
) -> KleinResource:
    """A resource that answers the routes of `api` under each prefix, and those of `bare` as they are."""
    app = Klein()
    app.url_map.converters["text"] = _Text
    app.url_map.merge_slashes = False  # an empty word is not to be redirected away
    for route in bare:
        _add(app, access, clock, route, "", route.path)
    for route in api:
        for prefix in PREFIXES:
            _add(app, access, clock, route, prefix, PREFIXES[0] + route.path)
    # Klein's types know only IRequest; the site hands it nothing but ours.
    for kind, handler in ((Refusal, _refused), (HTTPException, _unrouted), (Exception, _broken)):
        app.handle_errors(kind)(cast(Any, handler))
    return app.resource()


def _add(app: Klein, access: Access, clock: IReactorTime, route: Route, prefix: str, template: str) -> None:
    async def answer(request: Request, **words: str) -> bytes:
        request.route = template
        answer = await route.handler(Call(request, access, route), **words)
        if answer is None:
            return b""
        assert isinstance(answer, Answer)  # pages are given at mounts only
        if answer.data is None:
            return request.prepare(answer.status, b"", answers.NO_STORE)
        return request.prepare(answer.status, answers.success(answer, clock.seconds()), answers.NO_STORE)

    path = prefix + _WORD.sub(r"<text:\1>", route.path)
    app.route(path, methods=[route.method], endpoint=f"{route.method} {path}")(answer)


def _refused(request: Request, failure: Failure) -> bytes:
    assert isinstance(failure.value, Refusal)
    return request.refused(failure.value)


def _unrouted(request: Request, failure: Failure) -> bytes:
    path = request.path.decode("utf-8", "replace")
    if not isinstance(failure.value, MethodNotAllowed):
        return request.refused(answers.no_route(path))
    allowed = ", ".join(sorted({*(failure.value.valid_methods or ()), "OPTIONS"})).encode("ascii")
    if request.method == b"OPTIONS":
        return request.prepare(204, b"", ((b"Allow", allowed),))
    return request.refused(answers.MethodNotAllowed("Method not allowed"), ((b"Allow", allowed),))


def _broken(request: Request, failure: Failure) -> bytes:
    return request.broken(failure)
