"""The root: who answers here, for a program or for a person."""

from __future__ import annotations

from html import escape

from attrs import define
from twisted.internet.interfaces import IReactorTime

from ..core.model import timestamp
from .answers import Answer
from .call import Call, Route

_PAGE = """<!doctype html>
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
class HomeRoutes:
    _name: str
    _version: str
    _clock: IReactorTime

    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.home, whole=False)]

    async def home(self, call: Call) -> Answer | None:
        if "text/html" in (call.header("accept") or ""):
            page = _PAGE.format(name=escape(self._name), version=escape(self._version))
            body = call.exchange.prepare(
                200, page.encode(), ((b"Vary", b"Accept"),), b"text/html; charset=utf-8"
            )
            call.exchange.write(body)
            return None
        return Answer(
            200,
            {
                "name": self._name,
                "version": self._version,
                "status": "running",
                "timestamp": timestamp(self._clock.seconds()),
            },
            bare=True,
        )
