"""The root: who answers here, for a program or for a person."""

from __future__ import annotations

from html import escape

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ...core.model import format_timestamp
from ..envelope import JsonResponse
from ..route import RequestContext, Route

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
    _clock: IReactorTime

    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.index, whole=False)]

    async def index(self, call: RequestContext) -> JsonResponse | None:
        if "text/html" in (call.header("accept") or ""):
            page = _INDEX_HTML.format(name=escape(self._name), version=escape(self._version))
            body = call.http_request.prepare_response(
                200, page.encode(), ((b"Vary", b"Accept"),), b"text/html; charset=utf-8"
            )
            call.http_request.write(body)
            return None
        return JsonResponse(
            200,
            {
                "name": self._name,
                "version": self._version,
                "status": "running",
                "timestamp": format_timestamp(self._clock.seconds()),
            },
            without_envelope=True,
        )
