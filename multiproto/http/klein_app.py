"""The REST API on Klein: the routes, under `/api/v1` and its alias `/api`, and the mounted resources."""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable, Coroutine, Iterable, Mapping

from attrs import frozen
from twisted.web.resource import IResource

from ..base.bearer import parse_bearer
from ..core.errors import Refusal, Unauthorized
from ..core.identity import Identity, check_full_access
from ..core.ports import Authenticator
from . import envelope
from .request import HttpRequest
from .route import Auth, RequestContext, Route
from .routing import API_PREFIXES, CountedBy, PathSegments, RoutedApp

_PATH_PARAM = re.compile(r":([A-Za-z]+)")


class UndeclaredAuth(Exception):
    """A route does not declare its `Auth`."""


@frozen
class Guard:
    """Authenticates the caller of a route, and checks that its `Auth` allows the caller."""

    _authenticator: Authenticator
    _check_operator: Callable[[Identity], Awaitable[None]]  # raises `Forbidden`

    async def identify(self, context: RequestContext, auth: Auth) -> Identity:
        """The identity of the caller, for whom the request is counted.

        Raises `Unauthorized`, `Forbidden`, `RateLimited`.  This is the only place where REST reads a token.
        """
        authorization = context.header("authorization")
        try:
            if authorization is None:
                raise Unauthorized("Authorization header missing")
            token = parse_bearer(authorization)
            if not token:
                raise Unauthorized("Send a bearer token")
            identity = await self._authenticator.authenticate(token, context.client)
        except Unauthorized:
            await context.http_request.count()
            raise
        await context.http_request.count(identity.user_id)
        if auth is not Auth.SCOPED:
            check_full_access(identity)
        if auth is Auth.OPERATOR:
            await self._check_operator(identity)
        return identity


def make_app(
    guard: Guard, api: Iterable[Route], bare: Iterable[Route], mounts: Mapping[PathSegments, IResource]
) -> RoutedApp:
    """An app with the routes of `api` under each prefix, those of `bare` without one, and the mounts.

    Raises `UndeclaredAuth`.
    """
    app = RoutedApp()
    for segments, resource in mounts.items():
        _add_mount(app, segments, resource)
    for route in bare:
        _add_route(app, guard, route, "", route.path)
    for route in api:
        for prefix in API_PREFIXES:
            _add_route(app, guard, route, prefix, API_PREFIXES[0] + route.path)
    check_declared(app)
    return app


def check_declared(app: RoutedApp) -> None:
    """Raise `UndeclaredAuth` if a route of `app` was not declared with an `Auth`."""
    for rule in app.url_map.iter_rules():
        # Klein keeps the attributes of what it wraps.
        if not isinstance(getattr(app.endpoints[rule.endpoint], "auth", None), Auth):
            raise UndeclaredAuth(f"The route {rule.rule} does not declare who may call it: give it an `Auth`")


def _add_route(app: RoutedApp, guard: Guard, route: Route, prefix: str, template: str) -> None:
    handler, auth = route.handler, route.auth

    async def respond(request: HttpRequest, **params: str) -> None:
        request.route_template = template
        context = RequestContext(request)
        try:
            if auth is not Auth.NONE:
                context = RequestContext(request, await guard.identify(context, auth))
            response = await handler(context, **params)
        except Refusal as refusal:
            return request.send_refusal(refusal)
        if response is not None:
            request.send(response)
        elif not request.is_disconnected:
            request.finish()

    path = prefix + _PATH_PARAM.sub(r"<string:\1>", route.path)
    _register(app, path, respond, auth, route.counted_by, route.method)


def _add_mount(app: RoutedApp, segments: PathSegments, resource: IResource) -> None:
    """Serve `resource` at `segments`, and if it is a leaf, below; it authenticates its callers itself.

    One that `counts_requests` counts each of them, too: by `HttpRequest.count`.
    """
    path = "/" + "/".join(segments)
    counted_by = CountedBy.HANDLER if getattr(resource, "counts_requests", False) else CountedBy.ADDRESS

    async def respond(request: HttpRequest, rest: str | None = None) -> None:
        request.route_template = path
        request.split_path(len(segments))
        if rest is not None and (request.wants_websocket_upgrade or not resource.isLeaf):
            return request.send_refusal(envelope.route_not_found(request.path.decode()))
        request.render(resource)

    _register(app, path, respond, Auth.NONE, counted_by)
    _register(app, path + "/<rest:rest>", respond, Auth.NONE, counted_by)


def _register(
    app: RoutedApp,
    path: str,
    respond: Callable[..., Coroutine[Any, Any, None]],
    auth: Auth,
    counted_by: CountedBy,
    method: str | None = None,
) -> None:
    """Route requests for `path` to `respond`, which must catch every `Refusal`."""
    declared: Any = respond
    # Klein keeps attributes.
    declared.auth, declared.respond, declared.counted_by = auth, respond, counted_by
    methods = None if method is None else [method]
    app.route(path, methods=methods, endpoint=f"{method or 'any'} {path}")(declared)
