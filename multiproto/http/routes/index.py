"""The root: name, version and status of the server, as JSON or as a page for a browser."""

from __future__ import annotations

from html import escape
from typing import Callable, Sequence

from attrs import define, frozen

from ...base.timestamps import format_timestamp
from ..envelope import JsonResponse, RawResponse
from ..route import Auth, RequestContext, Route

_INDEX_HTML = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<h1>{name} {version}</h1>
<p>One conversation, whichever protocol you speak.</p>
<ul>
{endpoints}
</ul>
"""


@frozen
class IndexEntry:
    """What the page lists of one protocol."""

    name: str
    path: str
    is_page: bool = False  # for a browser


REST = IndexEntry("REST", "/api/v1")
HEALTH = IndexEntry("Health", "/health", is_page=True)


@define(eq=False, repr=False)
class IndexRoutes:
    _name: str
    _version: str
    _mounted: Sequence[IndexEntry]  # the protocols that are served on this port beside REST
    _now: Callable[[], float]  # seconds since the epoch

    def routes(self) -> list[Route]:
        return [Route("GET", "/", self.index, auth=Auth.NONE)]

    async def index(self, context: RequestContext) -> JsonResponse | RawResponse:
        if "text/html" in (context.header_list("accept") or ""):
            page = _INDEX_HTML.format(
                name=escape(self._name),
                version=escape(self._version),
                endpoints="\n".join(map(_render_entry, (REST, *self._mounted, HEALTH))),
            )
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


def _render_entry(entry: IndexEntry) -> str:
    path = f"<code>{escape(entry.path)}</code>"
    return f"<li>{entry.name}: " + (f'<a href="{escape(entry.path)}">{path}</a>' if entry.is_page else path)
