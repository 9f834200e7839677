"""The root: name, version and status of the server, as JSON or as a page for a browser."""

from __future__ import annotations

from html import escape
from typing import Callable

from attrs import define

from ...base.timestamps import format_timestamp
from ..envelope import JsonResponse, RawResponse
from ..route import Auth, RequestContext, Route

_INDEX_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<h1>{name} {version}</h1>
<p>One conversation over REST, WebSocket, GraphQL and framed TCP.</p>
<ul>
<li>REST: <code>/api/v1</code>
<li>WebSocket: <code>/ws</code>
<li>GraphQL: <a href="/graphql"><code>/graphql</code></a>
<li>Health: <a href="/health"><code>/health</code></a>
</ul>
"""


@define(eq=False, repr=False)
class IndexRoutes:
    _name: str
    _version: str
    _now: Callable[[], float]  # seconds since the epoch

    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.index, auth=Auth.NONE)]

    async def index(self, context: RequestContext) -> JsonResponse | RawResponse:
        if "text/html" in (context.header_list("accept") or ""):
            page = _INDEX_HTML.format(name=escape(self._name), version=escape(self._version))
            return RawResponse(200, b"text/html; charset=utf-8", page.encode(), ((b"Vary", b"Accept"),))
        return JsonResponse(
            200,
            {
                "name": self._name,
                "version": self._version,
                "status": "running",
                "timestamp": format_timestamp(self._now()),
            },
            without_envelope=True,
        )
