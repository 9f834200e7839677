"""Matches a request to an endpoint of the Klein app by its `url_map`, and caches the matches.

One match costs 5 to 8 µs, a fifth of a small request.  So the matches of recent
paths are kept; adding a route drops them all.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from typing import Any, Callable, Coroutine, Mapping
from urllib.parse import unquote

from attrs import define, field
from klein import Klein
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod
from werkzeug.routing import (
    BaseConverter,
    Map,
    MapAdapter,
    PathConverter,
    RequestRedirect,
    Rule,
    RuleFactory,
    UnicodeConverter,
)

from ..core.errors import InvalidInput, Refusal
from . import envelope, paths

API_PREFIXES = ("/api/v1", "/api")  # the first one names a route in metrics

PathSegments = tuple[str, ...]

MAX_REMEMBERED_PATHS = 2048
MAX_REMEMBERED_PATH = 256  # bytes; with the number of them, some megabytes at most


class CountedBy(Enum):
    """What decides whose request it is that the rate limit counts."""

    ADDRESS = "address"  # the head alone: it counts before its body is read
    TOKEN = "token"  # its token, where it has one: it counts for the user, or else for the address
    HANDLER = "handler"  # what it turns out to be: its handler counts it


class CountedMap(Map):
    """A map of routes with a version: each added route changes it, and so invalidates cached matches."""

    version = 0

    def add(self, rulefactory: RuleFactory) -> None:
        super().add(rulefactory)
        self.version += 1


class RoutedApp(Klein):
    """A Klein app with a `CountedMap`, whose paths stay percent-encoded until they are matched."""

    def __init__(self) -> None:
        super().__init__()
        self._url_map = self.routes = CountedMap(
            merge_slashes=False,  # no redirect for an empty segment
            converters={
                "default": _SegmentConverter,
                "string": _SegmentConverter,
                "path": _PathConverter,
                "rest": _RestConverter,
            },
        )

    def __get__(self, instance: Any, owner: object) -> RoutedApp:
        """The app itself: Klein would bind its handlers to `instance` here, but ours are bound already."""
        return self


# Paths are matched as `paths.canonical_path` spells them, and endpoints receive decoded parameters.


class _SegmentConverter(UnicodeConverter):
    def to_python(self, value: str) -> str:
        return unquote(value, errors="strict") if "%" in value else value


class _PathConverter(PathConverter):
    def to_python(self, value: str) -> str:
        return unquote(value, errors="strict")


class _RestConverter(BaseConverter):
    """Matches the rest of the path, even if it is empty or begins with a slash."""

    regex = "(?s:.*?)"
    part_isolating = False
    weight = 300


@define(eq=False, repr=False)
class Match:
    """An endpoint of the app, and the parameters that its rule found in the path."""

    endpoint: Callable[..., Any]  # called with an instance, here `None`, and the request, as Klein does
    params: Mapping[str, Any]
    depth: int  # segments of the path that the rule names
    # Of a route made by `klein_app`, the coroutine function inside Klein's wrappers; calling it directly
    # saves their two frames and their `Deferred`.
    respond: Callable[..., Coroutine[Any, Any, None]] | None
    counted_by: CountedBy


@define(eq=False, repr=False)
class RequestTarget:
    """A method and a path, and the endpoint that they match; only its router changes it."""

    method: bytes
    path: bytes
    segments: PathSegments | None  # `None` if they are not UTF-8
    is_limited: bool  # counted by the rate limit
    match: Match | None = None  # set by `Router.match`


@define(eq=False, repr=False)
class Router:
    """Matches targets to the endpoints of the app, and caches the matches."""

    app: RoutedApp
    _upgrade_paths: frozenset[PathSegments]  # where a request may upgrade to another protocol
    adapter: MapAdapter = field(init=False)
    _version: int = field(default=-1, init=False)  # of the routes that `_remembered` was matched with
    _remembered: OrderedDict[tuple[bytes, bytes], RequestTarget] = field(factory=OrderedDict, init=False)

    def __attrs_post_init__(self) -> None:
        self.adapter = self.app.routes.bind("")

    @property
    def version(self) -> int:
        """A number that changes when a route is added."""
        return self.app.routes.version

    def target(self, method: bytes, path: bytes) -> RequestTarget:
        if self._version != self.app.routes.version:
            self._remembered.clear()
            self._version = self.app.routes.version
        return self._remembered.get((method, path)) or _parse_target(method, path)

    def is_upgrade_path(self, target: RequestTarget) -> bool:
        return target.segments in self._upgrade_paths

    def match(self, target: RequestTarget) -> Match:
        """The endpoint for `target`.  Raises `NotFound`, `MethodNotAllowed`, `InvalidInput`."""
        if target.match is not None:
            return target.match
        segments = target.segments
        if segments is None:
            raise InvalidInput("The path is not UTF-8")
        if segments[0] == "" and len(segments) > 1:  # werkzeug would match //health as /health
            raise self._not_found(target)
        canonical = paths.canonical_path(target.path, segments)
        rule, params = self._match_rule(target, canonical)
        endpoint: Any = self.app.endpoints[str(rule.endpoint)]
        respond = getattr(endpoint, "respond", None)
        counted_by = getattr(endpoint, "counted_by", CountedBy.ADDRESS)
        target.match = Match(endpoint, params, endpoint.segment_count, respond, counted_by)
        self._remember(target)
        return target.match

    def counted_by(self, target: RequestTarget) -> CountedBy:
        """What decides for whom a request for `target` counts; where there is no endpoint, its address."""
        try:
            return self.match(target).counted_by
        except Refusal:
            return CountedBy.ADDRESS

    def _match_rule(self, target: RequestTarget, canonical: str) -> tuple[Rule, Mapping[str, Any]]:
        method = target.method.decode("ascii")
        try:
            try:
                return self.adapter.match(canonical, method, return_rule=True)
            except RequestRedirect:  # to the same path with a trailing slash, which makes no difference here
                return self.adapter.match(canonical + "/", method, return_rule=True)
        except NoSuchMethod as fault:
            allowed = ", ".join(sorted({*(fault.valid_methods or ()), "OPTIONS"}))
            raise envelope.MethodNotAllowed("Method not allowed", allowed) from None
        except HTTPException:
            raise self._not_found(target) from None

    def _not_found(self, target: RequestTarget) -> Exception:
        return envelope.route_not_found(target.path.decode("utf-8", "replace"))

    def _remember(self, target: RequestTarget) -> None:
        if len(target.path) > MAX_REMEMBERED_PATH:
            return
        if len(self._remembered) >= MAX_REMEMBERED_PATHS:
            self._remembered.popitem(last=False)
        self._remembered[target.method, target.path] = target


def _parse_target(method: bytes, path: bytes) -> RequestTarget:
    try:
        segments = paths.decode_segments(path)
    except InvalidInput:
        return RequestTarget(method, path, None, True)
    return RequestTarget(method, path, segments, segments[0] != "health")
