"""Pages of other origins, of the server's own behind nginx, and of files: what each may do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Sequence
from urllib.parse import urlencode

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from twisted.web.static import File

from multiproto.config import Config
from tests.live.processes import Program
from tests.live.running import LiveCase
from tests.ports import HOST, free_port
from tests.programs import debian_program
from tests.system.proxies.behind import NAME, BehindCase
from tests.system.proxies.documented import Nginx, RunningProxy, Upstream

PAGE = Path(__file__).parent / "page.html"
NGINX_PORT = 39443
SUCCESS = {
    "eventStream": "hello",
    "webSocket": "hello",
    "graphqlSocket": "hello",
    "rest": [202, True, True],
    "graphql": "ann",
}
FAILURE = {
    "eventStream": "failed: Failed to fetch",
    "webSocket": "failed: refused",
    "graphqlSocket": "failed: refused",
    "rest": "failed: Failed to fetch",
    "graphql": "failed: Failed to fetch",
}


class ResultResource(Resource):
    """Receives what a page has found."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.received: Deferred[dict[str, Any]] = Deferred()

    def render_POST(self, request: Request) -> bytes:
        self.received.callback(json.load(request.content))
        return b""


class Browsing(LiveCase):
    """A web server for the page, on `self.page_port`, and a browser that opens it."""

    def configure(self, config: Config) -> Config:
        self.page_port = free_port()
        config = super().configure(config)
        return evolve(config, http=evolve(config.http, origins=tuple(self.origins())))

    def origins(self) -> Sequence[str]:
        """The setting `CORS_ORIGINS`."""
        return ()

    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.result = ResultResource()
        root = Resource()
        root.putChild(b"page.html", File(str(PAGE)))
        root.putChild(b"result", self.result)
        port = reactor.listenTCP(self.page_port, Site(root), interface=HOST)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)

    async def visit(self, page: str, **arguments: str) -> dict[str, Any]:
        """What the page at this address finds, when it is given a token and these `arguments`."""
        ann = await self.person("ann")
        result = f"http://{NAME}:{self.page_port}/result"
        fragment = urlencode({"token": ann.token, "result": result, **arguments})
        browser = Browser.start(
            debian_program("chromium", "chromium"),
            *("--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *(("--no-sandbox",) if os.geteuid() == 0 else ()),
            "--ignore-certificate-errors",
            "--remote-debugging-port=0",  # it would end at once without
            f"--user-data-dir={Path(self.mktemp()).absolute()}",
            f"{page}#{fragment}",
        )
        self.addCleanup(browser.stop)
        return await self.result.received

    @property
    def server_url(self) -> str:
        return f"http://{HOST}:{self.address.http}"


class Browser(Program):
    """Chromium, whose processes end with the first."""

    async def stop(self) -> None:
        if not self.ended.called:
            self.signal("TERM")
            await self.ended


class OtherOriginTests(Browsing):
    def origins(self) -> Sequence[str]:
        return (f"http://{NAME}:{self.page_port}",)

    async def test_a_page_with_tracing_talks_by_all_protocols(self) -> None:
        origin = self.origins()[0]
        found = await self.visit(f"{origin}/page.html", server=self.server_url)
        self.assertEqual(found, {"origin": origin, **SUCCESS})


class StrangerTests(Browsing):
    async def test_a_page_that_is_not_listed_can_do_nothing(self) -> None:
        origin = f"http://{NAME}:{self.page_port}"
        found = await self.visit(f"{origin}/page.html", server=self.server_url)
        self.assertEqual(found, {"origin": origin, **FAILURE})


class FileTests(Browsing):
    def origins(self) -> Sequence[str]:
        return ("null",)

    async def test_a_page_that_is_opened_as_a_file(self) -> None:
        found = await self.visit(PAGE.as_uri(), server=self.server_url)
        self.assertEqual(found, {"origin": "file://", **SUCCESS})  # so it says, but it sends `null`


class NginxTests(Browsing, BehindCase):
    """The page comes from the same nginx, on a port that is not 443."""

    def make_proxy(self, directory: Path, upstream: Upstream) -> RunningProxy:
        location = f"location /page.html {{ proxy_pass http://{HOST}:{self.page_port}; }}"
        return Nginx(directory, self.files, [upstream], NGINX_PORT, extra_location=location)

    async def test_a_page_of_the_same_origin(self) -> None:
        origin = f"https://{NAME}:{NGINX_PORT}"
        found = await self.visit(f"{origin}/page.html")
        self.assertEqual(found, {"origin": origin, **SUCCESS})
