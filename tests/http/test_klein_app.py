"""Routes of any kind on the site's Klein app, also ones added while it runs, and their declared `Auth`."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

from klein import Response as KleinResponse
from klein.interfaces import IKleinRequest
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.static import File
from twisted.web.template import Element, TagLoader, tags
from werkzeug.exceptions import abort
from werkzeug.routing import Rule

from multiproto.core.addresses import AddressRules
from multiproto.http import access_log
from multiproto.http.cors import CorsPolicy
from multiproto.http.envelope import JsonResponse
from multiproto.http.klein_app import Guard, UndeclaredAuth, check_declared, make_app
from multiproto.http.route import Auth, RequestContext, Route
from multiproto.http.routing import MAX_REMEMBERED_PATHS, Router
from multiproto.http.wiring import SiteSettings

from .client import Line, responses
from .sites import SiteCase

PROXY = "10.0.0.1"


class Leaf(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"/".join(request.postpath)


class LateCase(SiteCase):
    settings = SiteSettings(
        cors=CorsPolicy(allow_localhost=True),
        address_rules=AddressRules(trusted_proxies=(ip_network(PROXY),)),
    )

    def setUp(self) -> None:
        super().setUp()
        self.log: list[Any] = []
        self.patch(access_log, "LOG", Logger(observer=self.log.append))
        self.ask("GET", "/late/x")  # there is nothing yet, and that is not remembered

    def add(self, handler: Any, path: str = "/late/<word>", **more: Any) -> None:
        self.site.app.route(path, methods=["GET"], **more)(handler)


class LateRouteTests(LateCase):
    def test_served_as_every_other(self) -> None:
        """Direct, by a proxy, by HEAD and by OPTIONS; with CORS, limits, an id, compression and the access log."""

        def late(request: Any, word: str) -> bytes:
            request.setHeader("Content-Type", "text/plain")
            return word.encode() * 2000

        self.add(late)
        common = {
            "Origin": "http://localhost:1",
            "X_Correlation_ID": "mine",
            "Accept_Encoding": "gzip",
            "X_Forwarded_For": "192.0.2.7",
        }
        for method, status, size in (("GET", 200, 2000), ("HEAD", 200, 0), ("OPTIONS", 204, 0)):
            for host, client in (("192.0.2.1", "192.0.2.1"), (PROXY, "192.0.2.7")):
                line = Line(self.site, host)
                line.ask(method, "/late/a", headers={k.replace("_", "-"): v for k, v in common.items()})
                answer = line.answer(method == "HEAD")
                self.assertEqual((answer.status, len(answer.body)), (status, size))
                self.assertEqual(answer.headers["access-control-allow-origin"], "http://localhost:1")
                self.assertEqual(answer.headers["x-correlation-id"], "mine")
                self.assertIn("ratelimit-remaining", answer.headers)
                self.assertIn("content-security-policy", answer.headers)
                self.assertEqual(answer.headers.get("content-encoding"), None if status == 204 else "gzip")
                self.assertEqual(answer.headers.get("allow"), "GET, HEAD, OPTIONS" if status == 204 else None)
                logged = self.log[-1]
                self.assertEqual(
                    (logged["method"], logged["status"], logged["client"], logged["request"]),
                    (method, status, client, "mine"),
                )

    def test_pipelined(self) -> None:
        waiting: Deferred[bytes] = Deferred()
        self.add(lambda request, word: waiting if word == "slow" else word.encode())
        line = Line(self.site)
        for word in ("slow", "b", "c"):
            line.ask("GET", f"/late/{word}")
        self.assertEqual(line.heard(), b"")
        waiting.callback(b"slow")
        self.assertEqual([each.body for each in responses(line.heard())], [b"slow", b"b", b"c"])

    def test_all_that_klein_takes(self) -> None:
        async def waits(request: Any) -> str:
            return str(await succeed("ü"))

        async def resource_later(request: Any) -> Resource:
            return Leaf()

        def writes(request: Any) -> None:
            request.write(b"one ")
            request.write(b"two")

        def writes_and_finishes(request: Any) -> int:
            request.write(b"done")
            request.finish()
            return int(NOT_DONE_YET)

        def finishes_later(request: Any) -> int:
            self.clock.callLater(1, request.finish)
            request.write(b"later")
            return int(NOT_DONE_YET)

        def links(request: Any) -> str:
            return IKleinRequest(request).url_for("links")  # type: ignore[no-any-return]

        element = Element(TagLoader(tags.p("element")))
        for number, (handler, body) in enumerate(
            (
                (lambda request: b"bytes", b"bytes"),
                (lambda request: "text", b"text"),
                (lambda request: None, b""),
                (lambda request: succeed(b"deferred"), b"deferred"),
                (waits, "ü".encode()),
                (writes, b"one two"),
                (writes_and_finishes, b"done"),
                (finishes_later, b"later"),
                (links, b"/kind8"),
                (lambda request: Leaf(), b""),
                (resource_later, b""),
                (lambda request: element, b"<!DOCTYPE html>\n<p>element</p>"),
                (lambda request: KleinResponse(201, {"X-A": ["b"]}, "made"), b"made"),
                (lambda request: request.args[b"q"][0] + request.getCookie(b"c"), b"12"),
            )
        ):
            endpoint = "links" if handler is links else f"kind{number}"
            self.add(handler, f"/kind{number}", endpoint=endpoint)
            line = Line(self.site)
            line.ask("GET", f"/kind{number}?q=1", headers={"Cookie": "c=2"})
            self.clock.advance(1)
            self.assertEqual(line.answer().body, body, number)

    def test_a_branch(self) -> None:
        self.add(lambda request: Leaf(), "/branch/", branch=True)
        bodies = {path: self.ask("GET", path).body for path in ("/branch", "/branch/", "/branch/a%2Fb/c")}
        self.assertEqual(bodies, {"/branch": b"", "/branch/": b"", "/branch/a%2Fb/c": b"a/b/c"})

    def test_words_are_decoded(self) -> None:
        self.add(lambda request, word: word)
        self.assertEqual(self.ask("GET", "/late/a%2F%C3%BC%25").body.decode(), "a/ü%")

    def test_a_bug(self) -> None:
        self.add(lambda request, word: 1 / 0)
        self.assertEqual(self.ask("GET", "/late/x").code, 50)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_bug_behind_the_answer(self) -> None:
        """It is logged, and the connection, of which nobody knows what it waits for, is cut."""
        self.site.on_request_done = lambda *seen: 1 / 0
        line = Line(self.site)
        line.ask("GET", "/health/live")
        self.assertTrue(line.heard().endswith(b'{"status":"alive"}'))
        self.assertTrue(line.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_bug_behind_an_answer_that_is_finished_costs_nobody_else_theirs(self) -> None:
        """The connection may be a proxy's, which carries the requests of others."""
        later: Deferred[None] = Deferred()

        def finishes_and_raises(request: Any, word: str) -> Any:
            request.setHeader("Content-Length", "4")
            request.write(b"done")
            request.finish()
            if word == "write":
                request.write(b"more")
            if word == "raise":
                raise ValueError(word)
            return later

        self.add(finishes_and_raises)
        for word in ("raise", "write", "later"):
            line = Line(self.site)
            line.ask("GET", f"/late/{word}")
            line.ask("GET", "/health/live")
            if word == "later":
                later.errback(ValueError(word))
            self.assertEqual([each.status for each in responses(line.heard())], [200, 200], word)
        self.assertEqual(len(self.flushLoggedErrors(ValueError, RuntimeError)), 3)

    def test_what_werkzeug_raises_has_its_own_status(self) -> None:
        def raises(request: Any, word: str) -> Any:
            abort(int(word))

        self.add(raises)
        for status in (400, 403, 404, 409, 418, 503):
            answer = self.ask("GET", f"/late/{status}")
            self.assertEqual((answer.status, answer.json["success"]), (status, False))

    def test_a_body_that_comes_later(self) -> None:
        self.add(lambda request, word: KleinResponse(202, {}, succeed(b"inner")))
        answer = self.ask("GET", "/late/x")
        self.assertEqual((answer.status, answer.body), (202, b"inner"))

    def test_a_producer_that_is_pulled(self) -> None:
        """Such as `twisted.web.static.File` registers."""
        directory = self.mktemp()
        Path(directory).mkdir()
        (Path(directory) / "page.txt").write_bytes(b"x" * 200_000)
        self.site.app.route("/files/", branch=True)(lambda request: File(directory))
        line = Line(self.site)
        line.ask("GET", "/files/page.txt")
        for _ in range(10):
            self.clock.advance(0.1)
            reactor.iterate()
        (answer,) = responses(line.heard())
        self.assertEqual((answer.status, len(answer.body)), (200, 200_000))

    def test_paths_of_any_characters(self) -> None:
        for path in ("/at/@me", "/a+b", "/a b", "/café"):
            self.site.app.route(path, endpoint=path)(lambda request: b"here")
            self.assertEqual(self.ask("GET", quote(path, safe="/@+")).body, b"here", path)

    def test_a_rule_that_is_put_into_the_map(self) -> None:
        self.add(lambda request, word: word.encode(), endpoint="late")
        self.assertEqual(self.ask("GET", "/late/x").body, b"x")
        self.site.app.route("/elsewhere", endpoint="exact")(lambda request: b"exact")
        self.site.app.url_map.add(Rule("/late/x", endpoint="exact"))
        self.assertEqual(self.ask("GET", "/late/x").body, b"exact")

    def test_a_client_that_leaves_ends_what_it_asked_for(self) -> None:
        ended: list[str] = []
        self.add(lambda request, word: Deferred(lambda _: ended.append(word)))
        line = Line(self.site)
        line.ask("GET", "/late/x")
        line.hang_up()
        self.assertEqual((ended, self.observed[-1][2]), (["x"], access_log.CLIENT_CLOSED_REQUEST))

    def test_a_path_that_is_remembered_is_looked_for_again(self) -> None:
        self.add(lambda request, word: b"any")
        line = Line(self.site)
        line.ask("GET", "/late/x")
        self.add(lambda request: b"this", "/late/x", endpoint="this")
        line.ask("GET", "/late/x")
        self.assertEqual([each.body for each in responses(line.heard())], [b"any", b"this"])

    def test_no_more_paths_are_remembered_than_may_be(self) -> None:
        self.add(lambda request, word: b"")
        router, line = self.site.router, Line(self.site)
        for number in range(MAX_REMEMBERED_PATHS + 10):
            router.match(router.target(b"GET", b"/late/%d" % number))
        router.match(router.target(b"GET", b"/late/" + b"x" * 300))
        self.assertEqual(len(router._remembered), MAX_REMEMBERED_PATHS)
        line.ask("GET", "/late/0")
        self.assertEqual(line.answer().status, 200)


class DeclarationTests(SiteCase):
    def test_a_route_says_who_may_ask_it(self) -> None:
        async def handler(call: RequestContext) -> None: ...

        with self.assertRaises(TypeError):
            Route("GET", "/a", handler)  # type: ignore[call-arg]
        with self.assertRaises(TypeError):
            Route("GET", "/a", handler, auth=None)  # type: ignore[arg-type]

    def test_one_that_was_put_there_by_hand_does_not_start(self) -> None:
        guard: Any = None
        app = make_app(guard, [], [], {})
        check_declared(app)
        app.route("/secret")(lambda request: b"")
        with self.assertRaisesRegex(UndeclaredAuth, "/secret does not declare"):
            check_declared(app)

    def test_names_differ_at_the_same_place(self) -> None:
        async def show(call: RequestContext, **words: str) -> JsonResponse:
            return JsonResponse(200, words)

        guard: Any = None
        routes = [
            Route("GET", "/messages/:id", show, auth=Auth.NONE),
            Route("GET", "/messages/:messageId/receipts", show, auth=Auth.NONE),
        ]
        self.site.router = Router(make_app(guard, routes, [], {}), frozenset())
        self.assertEqual(self.ask("GET", "/api/messages/7").data, {"id": "7"})
        self.assertEqual(self.ask("GET", "/api/v1/messages/7/receipts").data, {"messageId": "7"})

    def test_who_asks_is_known_to_the_handler_and_only_there(self) -> None:
        async def show(call: RequestContext) -> JsonResponse:
            return JsonResponse(200, call.identity.user_id)

        parts: Any = self.site
        house = self.house
        asked: list[str] = []

        class Authenticator:
            async def authenticate(self, token: str, client: Any) -> Any:
                asked.append(token)
                return await house.authenticator.authenticate(token)

        async def check_operator(identity: Any) -> None:
            asked.append(f"operator {identity.user_id}")

        authenticator: Any = Authenticator()
        routes = [Route("GET", f"/{auth.value}", show, auth=auth) for auth in Auth]
        guard = Guard(authenticator, check_operator)
        parts.router = Router(make_app(guard, routes, [], {}), frozenset())
        for auth, status, steps in (
            (Auth.LOGIN, 200, ["token-ann"]),
            (Auth.SCOPED, 200, ["token-ann"]),
            (Auth.OPERATOR, 200, ["token-ann", "operator ann"]),
            (Auth.NONE, 500, []),  # a handler that wants to know whom nobody asked is a bug
        ):
            asked.clear()
            answer = self.ask("GET", f"/api/{auth.value}", Authorization="Bearer token-ann")
            self.assertEqual((answer.status, asked), (status, steps), auth)
        self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1)
