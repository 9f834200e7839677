"""What the site does for every request, whichever endpoint responds: headers, compression, limits, failures."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from multiproto.config import load_config
from multiproto.http.cors import CorsPolicy
from multiproto.http.wire import make_index_entries
from multiproto.http.wiring import SiteSettings
from multiproto.observe.logs import CURRENT_REQUEST_ID

from .client import Line, responses
from .sites import SiteCase

BUG = {"code": 50, "message": "Internal server error"}


class Page(Resource):
    """A mounted resource: answers GET with what the test wants, and no other method."""

    def __init__(self, body: bytes = b"page") -> None:
        super().__init__()
        self.body = body

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/html")
        request.setHeader(b"Content-Security-Policy", b"script-src 'self'")
        return self.body + b" ".join([b"", *request.postpath, *request.args.get(b"q", [])])


class Broken(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        if request.args:
            request.write(b"so far")
        raise ValueError("secret detail")


class Waiting(Resource):
    """Notes the id of the request being answered, before and after it goes on."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str | None] = []
        self.go_on: Deferred[None] = Deferred()

    def render_GET(self, request: Any) -> object:
        async def answer() -> None:
            self.seen.append(CURRENT_REQUEST_ID.get())
            await self.go_on
            self.seen.append(CURRENT_REQUEST_ID.get())
            request.finish()

        Deferred.fromCoroutine(answer())
        return NOT_DONE_YET


class CorrelationTests(SiteCase):
    def given(self, **headers: str) -> str:
        return self.ask("GET", "/health/live", **headers).headers["x-correlation-id"]

    def test_made_when_there_is_none(self) -> None:
        self.assertEqual((self.given(), self.given()), ("correlation1", "correlation2"))

    def test_taken_from_the_client(self) -> None:
        self.assertEqual(self.given(X_Correlation_ID="abc"), "abc")
        self.assertEqual(self.given(X_Request_ID="def"), "def")
        self.assertEqual(self.given(X_Correlation_ID="abc", X_Request_ID="def"), "abc")

    def test_what_is_not_printable_or_too_long_is_not_taken(self) -> None:
        self.assertEqual(self.given(X_Correlation_ID="a" * 128), "a" * 128)
        for unfit in ("a" * 129, "a b", "é", ""):
            self.assertTrue(self.given(X_Correlation_ID=unfit).startswith("correlation"), unfit)

    def test_on_answers_that_the_router_never_saw(self) -> None:
        """On malformed, oversize and limited requests too (docs/predecessor-faults.md#fault-21)."""
        line = Line(self.site)
        line.send(b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(line.answer().headers["x-correlation-id"], "correlation1")
        line = Line(self.site)
        line.ask("POST", "/api/topics/a", headers={"Content-Length": "9999999", "X-Request-ID": "mine"})
        self.assertEqual(line.answer().headers["x-correlation-id"], "mine")


class CorsTests(SiteCase):
    settings = SiteSettings(cors=CorsPolicy(frozenset({"https://app.example"})))
    PREFLIGHT = {"Access_Control_Request_Method": "PUT"}

    def allowed(self, origin: str, **headers: str) -> str | None:
        answer = self.ask("GET", "/health/live", Origin=origin, **headers)
        self.assertIn("Origin", answer.headers["vary"])
        return answer.headers.get("access-control-allow-origin")

    def test_a_configured_origin(self) -> None:
        answer = self.ask("GET", "/health/live", Origin="https://app.example")
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example")
        self.assertEqual(answer.headers["access-control-allow-credentials"], "true")
        self.assertIn("RateLimit-Remaining", answer.headers["access-control-expose-headers"])

    def test_any_other(self) -> None:
        """Exact origins: none that merely looks like one."""
        for origin in (
            "https://app.example.evil",
            "http://app.example",
            "https://app.example:8443",
            "null",
            "http://localhost",
        ):
            self.assertIsNone(self.allowed(origin), origin)

    def test_our_own(self) -> None:
        self.assertEqual(self.allowed("http://example.org"), "http://example.org")
        self.assertEqual(self.allowed("http://a:3000", Host="a:3000"), "http://a:3000")
        self.assertIsNone(self.allowed("http://a:3001", Host="a:3000"))

    def test_anyone_without_credentials(self) -> None:
        self.site = self.make_site(SiteSettings(cors=CorsPolicy(frozenset({"*"}))))
        answer = self.ask("GET", "/health/live", Origin="https://anyone.example")
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertNotIn("access-control-allow-credentials", answer.headers)

    def test_any_localhost_in_development(self) -> None:
        """The predecessor's fault: the default allowed nobody (docs/predecessor-faults.md#fault-21)."""
        self.site = self.make_site(SiteSettings(cors=CorsPolicy(allow_localhost=True)))
        for origin in ("http://localhost:5173", "https://localhost", "http://127.0.0.1:3", "http://[::1]:3"):
            self.assertEqual(self.allowed(origin), origin)
        self.assertIsNone(self.allowed("http://localhost.evil"))

    def test_what_is_spelled_out(self) -> None:
        """Apps have schemes of their own; a page opened as a file has the origin `null`."""
        origins = (
            "capacitor://localhost",
            "tauri://localhost",
            "chrome-extension://abcdefghijklmnop",
            "null",
        )
        cors = CorsPolicy(frozenset(origins))
        self.site = self.make_site(SiteSettings(cors=cors))
        for origin in origins:
            self.assertEqual(self.allowed(origin), origin)
            self.assertTrue(cors.allows_websocket(origin), origin)
        for origin in (
            "capacitor://other",
            "chrome-extension://ponmlkjihgfedcba",
            "file://",
            "https://localhost",
        ):
            self.assertIsNone(self.allowed(origin), origin)
            self.assertFalse(cors.allows_websocket(origin), origin)

    def test_for_websockets(self) -> None:
        """Whose handshakes are judged by the same list."""
        self.assertTrue(self.settings.cors.allows_websocket("https://app.example"))
        self.assertFalse(self.settings.cors.allows_websocket("https://evil"))
        self.assertTrue(CorsPolicy(allow_localhost=True).allows_websocket("http://localhost:1"))
        self.assertTrue(CorsPolicy(frozenset({"*"})).allows_websocket("https://anyone.example"))

    def test_preflight(self) -> None:
        """Answered for any path, and not counted."""
        answer = self.ask("OPTIONS", "/api/v1/users/1", Origin="https://app.example", **self.PREFLIGHT)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.headers["access-control-allow-origin"], "https://app.example")
        self.assertIn("PUT", answer.headers["access-control-allow-methods"])
        self.assertIn("Authorization", answer.headers["access-control-allow-headers"])
        self.assertNotIn("ratelimit-limit", answer.headers)

    def test_preflight_of_a_stranger(self) -> None:
        answer = self.ask("OPTIONS", "/api/v1/users/1", Origin="https://evil", **self.PREFLIGHT)
        self.assertEqual(answer.status, 204)
        self.assertFalse([name for name in answer.headers if name.startswith("access-control")])


class SecurityHeaderTests(SiteCase):
    def test_plain(self) -> None:
        headers = self.ask("GET", "/nope").headers
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        self.assertEqual(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'")
        self.assertEqual(headers["referrer-policy"], "no-referrer")
        self.assertNotIn("strict-transport-security", headers)
        self.assertNotIn("server", headers)

    def test_over_tls(self) -> None:
        line = Line(self.site)
        line.channel.secure = True
        line.ask("GET", "/", headers={"Origin": "http://example.org"})
        headers = line.answer().headers
        self.assertEqual(headers["strict-transport-security"], "max-age=31536000; includeSubDomains")
        self.assertNotIn("access-control-allow-origin", headers)  # http: is not our own

    def test_a_resource_keeps_its_own(self) -> None:
        self.mounts[b"/page"] = Page()
        self.site = self.make_site()
        self.assertEqual(self.ask("GET", "/page").headers["content-security-policy"], "script-src 'self'")

    def test_switched_off(self) -> None:
        self.site = self.make_site(SiteSettings(security_headers=False))
        self.assertNotIn("x-content-type-options", self.ask("GET", "/").headers)


class CompressionTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.page = Page()
        self.mounts[b"page"] = self.page
        self.site = self.make_site()

    def coding(self, size: int, accepted: str) -> str | None:
        self.page.body = b"a" * size
        answer = self.ask("GET", "/page", Accept_Encoding=accepted)
        self.assertEqual(answer.body, b"a" * size)
        return answer.headers.get("content-encoding")

    def test_above_1_kib(self) -> None:
        self.assertEqual(self.coding(1025, "br, gzip"), "gzip")
        self.assertIsNone(self.coding(1024, "gzip"))

    def test_only_when_accepted(self) -> None:
        heard = {accepted: self.coding(2000, accepted) for accepted in ("", "br", "gzip;q=0", "*", "*;q=0")}
        self.assertEqual(heard, {"": None, "br": None, "gzip;q=0": None, "*": "gzip", "*;q=0": None})
        self.assertEqual(self.coding(2000, "GZIP ; q=0.5"), "gzip")

    def test_weights_as_they_may_be_written(self) -> None:
        for weight in ("0.", "0.0", "0.000", "x", ""):
            self.assertIsNone(self.coding(2000, f"gzip;q={weight}"), weight)
        for weight in ("1.", "0.001", "1.000"):
            self.assertEqual(self.coding(2000, f"gzip;q={weight}"), "gzip", weight)

    def test_what_is_accepted_in_several_lines(self) -> None:
        for lines, coding in (
            (("gzip", "br"), "gzip"),
            (("br", "gzip"), "gzip"),
            (("br", "gzip;q=0"), None),
            (("*", "gzip;q=0"), None),
        ):
            self.assertEqual(self.coding(2000, "\r\nAccept-Encoding: ".join(lines)), coding, lines)

    def test_caches_are_told(self) -> None:
        self.page.body = b"a" * 2000
        self.assertIn("Accept-Encoding", self.ask("GET", "/page").headers["vary"])

    def test_head_says_what_get_would(self) -> None:
        self.page.body = b"a" * 2000
        head, got = (self.ask(method, "/page", Accept_Encoding="gzip") for method in ("HEAD", "GET"))
        self.assertEqual(head.body, b"")
        for name in ("content-length", "content-encoding", "content-type", "vary"):
            self.assertEqual(head.headers[name], got.headers[name])

    def test_switched_off(self) -> None:
        self.site = self.make_site(SiteSettings(compression=False))
        self.assertIsNone(self.coding(2000, "gzip"))


class LimitTests(SiteCase):
    requests = 3

    def shown(self, target: str = "/nope", method: str = "GET") -> dict[str, str]:
        headers = self.ask(method, target).headers
        return {name: value for name, value in headers.items() if name.startswith(("ratelimit", "retry"))}

    def test_headers_and_the_end(self) -> None:
        self.assertEqual(
            self.shown(),
            {
                "ratelimit-policy": "3;w=60",
                "ratelimit-limit": "3",
                "ratelimit-remaining": "2",
                "ratelimit-reset": "60",
            },
        )
        self.clock.advance(10.5)
        self.shown()
        self.assertEqual(self.shown()["ratelimit-remaining"], "0")
        answer = self.ask("GET", "/nope")
        self.assertEqual((answer.status, answer.code), (429, 7))
        self.assertEqual(answer.headers["retry-after"], "50")
        message = "Too many requests; try again in 50 s (RATE_LIMIT_MAX)"
        self.assertEqual(answer.json["error"]["message"], message)

    def test_a_new_window(self) -> None:
        for _ in range(4):
            self.shown()
        self.clock.advance(60)
        self.assertEqual(self.shown()["ratelimit-remaining"], "2")

    def test_by_address(self) -> None:
        for _ in range(4):
            self.shown()
        line = Line(self.site, "10.0.0.2")
        line.ask("GET", "/nope")
        self.assertEqual(line.answer().status, 404)

    def test_the_connection_goes_on(self) -> None:
        """A limit is no reason to hang up on who sent no body."""
        line = Line(self.site)
        for _ in range(5):
            line.ask("GET", "/nope")
        line.ask("GET", "/health/live")
        statuses = [answer.status for answer in responses(line.heard())]
        self.assertEqual((statuses, line.closed), ([404, 404, 404, 429, 429, 200], False))

    def test_before_the_body_is_read(self) -> None:
        """The predecessor's fault: bodies were parsed before the limit was asked.

        docs/predecessor-faults.md#fault-8
        """
        for _ in range(3):
            self.shown()
        line = Line(self.site)
        line.send(b"POST /api/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
        answer = line.answer()
        self.assertEqual((answer.status, answer.code, line.closed), (429, 7, True))

    def test_health_is_exempt(self) -> None:
        """The predecessor's fault: probes were limited (docs/predecessor-faults.md#fault-21)."""
        for _ in range(5):
            for target in ("/health", "/health/ready", "/health/live", "/health/live/"):
                self.assertEqual(self.shown(target), {})
        self.assertEqual(self.shown("/healthy")["ratelimit-remaining"], "2")


class UserLimitTests(SiteCase):
    """With a good token a request counts for its user; without one, or with a bad one, for its address."""

    requests, user_requests = 2, 3

    def get(
        self, token: str | None = None, target: str = "/api/v1/topics/a/explain", host: str = "192.0.2.1"
    ) -> Any:
        line = Line(self.site, host)
        line.ask("GET", target, None, {"Authorization": token} if token else {})
        return line.answer()

    def shown(self, *asked: Any) -> list[tuple[int, str]]:
        return [(answer.status, answer.headers["ratelimit-remaining"]) for answer in asked]

    def test_the_limit_and_one_past_it(self) -> None:
        """From wherever it comes; others, and those without a token, are not touched."""
        hosts = ("192.0.2.1", "192.0.2.1", "198.51.100.7", "203.0.113.9")
        answers = [self.get("Bearer token-ann", host=host) for host in hosts]
        self.assertEqual(self.shown(*answers), [(200, "2"), (200, "1"), (200, "0"), (429, "0")])
        self.assertEqual({answer.headers["ratelimit-limit"] for answer in answers}, {"3"})
        text = "Too many requests; try again in 60 s (RATE_LIMIT_USER_MAX)"
        self.assertEqual(answers[-1].json["error"]["message"], text)
        self.assertEqual(answers[-1].headers["retry-after"], "60")
        self.assertEqual(self.get("Bearer token-bob").status, 200)
        self.assertEqual(self.shown(self.get(target="/")), [(200, "1")])

    def test_a_bad_token_counts_for_its_address(self) -> None:
        bad = ("Bearer forged", "Basic YQ==", "Bearer forged")
        answers = [self.get(token) for token in bad]
        self.assertEqual(self.shown(*answers), [(401, "1"), (401, "0"), (429, "0")])
        self.assertEqual(answers[-1].headers["ratelimit-limit"], "2")
        self.assertEqual(self.shown(self.get(), self.get(target="/nope")), [(429, "0"), (429, "0")])
        self.assertEqual(self.shown(self.get("Bearer token-ann")), [(200, "2")])

    def test_a_token_that_nobody_looks_at_counts_for_its_address(self) -> None:
        for target, status in (("/", 200), ("/nope", 404), ("/", 429)):
            self.assertEqual(self.get("Bearer token-ann", target).status, status)

    def test_what_has_a_limit_of_its_own_counts_here_only_where_it_cannot_be_read(self) -> None:
        """A login without JSON in it is none."""
        for action in ("login", "register", "refresh"):
            self.site = self.make_site()
            answers = [self.ask("POST", f"/api/auth/{action}", "[]") for _ in range(3)]
            self.assertEqual(self.shown(*answers), [(400, "1"), (400, "0"), (429, "0")], action)

    def test_another_method_there_counts_as_any_request(self) -> None:
        answers = [self.ask("GET", "/api/v1/auth/login") for _ in range(3)]
        self.assertEqual(self.shown(*answers), [(405, "1"), (405, "0"), (429, "0")])


class LogTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def lines(self) -> list[dict[str, Any]]:
        return [event for event in self.events if "http.request" in event["log_namespace"]]

    def test_one_line_and_one_observation_for_each(self) -> None:
        line = Line(self.site)
        line.ask("POST", "/api/topics/a", b"{}", {"X-Request-ID": "mine"})
        size = len(line.answer().body)
        [event] = self.lines()
        self.assertEqual(event["log_level"].name, "info")
        shown = {
            name: event[name] for name in ("method", "route", "status", "milliseconds", "size", "request")
        }
        self.assertEqual(
            shown,
            {
                "method": "POST",
                "route": "/api/v1/topics/:topic",
                "status": 401,
                "milliseconds": 0.0,
                "size": size,
                "request": "mine",
            },
        )
        self.assertEqual(self.observed, [("POST", "/api/v1/topics/:topic", 401, 0.0, 2, size)])

    def test_clients_make_no_labels(self) -> None:
        """The predecessor's fault: raw paths became metric labels (docs/predecessor-faults.md#fault-8)."""
        self.ask("GET", "/secret/123")
        self.ask("DELETE", "/health")
        for said in (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n"):
            Line(self.site).send(said)
        self.assertEqual(
            [seen[:3] for seen in self.observed],
            [
                ("GET", "unmatched", 404),
                ("DELETE", "unmatched", 405),
                ("other", "unmatched", 501),
                ("other", "unmatched", 501),
            ],
        )

    def test_in_order_when_sent_ahead(self) -> None:
        line = Line(self.site)
        line.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertEqual([event["route"] for event in self.lines()], ["/health/live", "/"])

    def test_a_bug_is_logged_whole_and_answered_without_detail(self) -> None:
        """The log has the traceback, and the answer has the id of the request.

        docs/predecessor-faults.md#fault-17, docs/predecessor-faults.md#fault-21
        """
        self.mounts[b"/broken"] = Broken()
        self.site = self.make_site()
        answer = self.ask("GET", "/broken", X_Request_ID="mine")
        self.assertEqual((answer.status, answer.code), (500, 50))
        self.assertEqual(
            answer.json,
            {"success": False, "error": BUG, "timestamp": "1970-01-01T00:00:00.000Z"},
        )
        self.assertEqual(self.lines()[0]["request"], "mine")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_what_is_logged_meanwhile_carries_its_id(self) -> None:
        """Also behind an await; and not what is logged outside of it."""
        page = Waiting()
        self.mounts[b"/waiting"] = page
        self.site = self.make_site()
        line = Line(self.site)
        line.ask("GET", "/waiting", None, {"X-Request-ID": "mine"})
        page.seen.append(CURRENT_REQUEST_ID.get())
        page.go_on.callback(None)
        self.assertEqual(page.seen, ["mine", None, "mine"])

    def test_a_bug_in_the_middle_of_an_answer_cuts_it(self) -> None:
        """The client must not take half an answer for a whole one."""
        self.mounts[b"/broken"] = Broken()
        self.site = self.make_site()
        line = Line(self.site)
        line.ask("GET", "/broken?a=1")
        self.assertTrue(line.aborted)
        self.assertNotIn(b"0\r\n\r\n", line.heard())
        self.flushLoggedErrors(ValueError)


class MountTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.mounts[b"/page"] = Page()
        self.mounts[b"/page"].isLeaf = True
        self.mounts[b"/api/deep"] = Page(b"deep")
        self.site = self.make_site()

    def test_at_and_below(self) -> None:
        answers = {
            target: self.ask("GET", target).body
            for target in ("/page", "/page/", "/page/a%2Fb", "/page?q=1", "/api/deep")
        }
        self.assertEqual(
            answers,
            {
                "/page": b"page",
                "/page/": b"page",
                "/page/a%2Fb": b"page a/b",
                "/page?q=1": b"page 1",
                "/api/deep": b"deep",
            },
        )

    def test_beside_is_not_found(self) -> None:
        self.assertEqual(self.ask("GET", "/pages").status, 404)

    def test_below_is_not_found_unless_the_resource_is_a_leaf(self) -> None:
        answer = self.ask("GET", "/api/deep/x")
        self.assertEqual((answer.status, answer.code), (404, 3))

    def test_another_method(self) -> None:
        answer = self.ask("POST", "/page", {})
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "HEAD, GET"))

    def test_a_body_over_the_limit_is_refused_here_too(self) -> None:
        line = Line(self.site)
        line.ask("POST", "/page", headers={"Content-Length": str(2**20 + 1)})
        self.assertEqual(line.answer().status, 413)

    def test_a_header_that_is_not_utf8_is_read_as_latin1(self) -> None:
        """Also once twisted.web's own table of headers is there, which can't decode it."""
        seen = []

        def look(request: Any) -> bytes:
            seen.extend([request.getHeader("accept"), request.requestHeaders, request.getHeader("accept")])
            return b""

        self.mounts[b"/page"].render_GET = look
        line = Line(self.site)
        line.send(b"GET /page HTTP/1.1\r\nHost: a\r\nAccept: \xe9\r\n\r\n")
        self.assertEqual(line.answer().status, 200)
        self.assertEqual(seen[::2], ["é", "é"])

    def test_label(self) -> None:
        self.ask("GET", "/page/x")
        self.assertEqual(self.observed[0][:3], ("GET", "/page", 200))


class Echo(WebSocketServerProtocol):  # type: ignore[misc]
    def onOpen(self) -> None:
        # Backpressure needs the producer's place on the transport to be free.
        self.transport.registerProducer(self, True)
        self.transport.unregisterProducer()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class Thief(Resource):
    """Takes the connection over, and breaks."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.channel.transport = None
        raise ValueError


class UpgradeTests(SiteCase):
    requests = 1
    HANDSHAKE = {
        "Connection": "Upgrade",
        "Upgrade": "WebSocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    HELLO = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi"  # a masked text frame
    ECHO = b"\x81\x02hi"

    def setUp(self) -> None:
        super().setUp()
        factory = WebSocketServerFactory(reactor=self.clock)
        factory.protocol = Echo
        self.mounts[b"/ws"] = WebSocketResource(factory)
        self.mounts[b"/page"] = Page()
        self.site = self.make_site()

    def test_handed_over_whole(self) -> None:
        """Frames that come in the handshake's own packet, or later, reach the new protocol."""
        line = Line(self.site)
        line.channel.dataReceived(
            b"GET /ws HTTP/1.1\r\nHost: a\r\n"
            + b"".join(f"{name}: {value}\r\n".encode() for name, value in self.HANDSHAKE.items())
            + b"\r\n"
            + self.HELLO
        )
        head, _, frames = line.heard().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertEqual(frames, self.ECHO)
        line.transport.protocol.dataReceived(self.HELLO)  # type: ignore[attr-defined]
        self.assertEqual(line.heard(), self.ECHO)
        self.assertEqual(self.observed, [("GET", "/ws", 101, 0.0, 0, 0)])

    def test_no_longer_ours(self) -> None:
        """Neither our deadlines nor our draining touch it."""
        line = Line(self.site)
        line.ask("GET", "/ws", headers=self.HANDSHAKE)
        self.clock.advance(3600)
        self.assertFalse(line.aborted)
        self.successResultOf(self.site.drain(5.0))

    def test_handshakes_are_not_counted(self) -> None:
        """They have limits of their own, with a close code of their own."""
        for _ in range(3):
            line = Line(self.site)
            line.ask("GET", "/ws", headers=self.HANDSHAKE)
            self.assertIn(b" 101 ", line.heard())

    def test_only_where_something_is_mounted(self) -> None:
        statuses = [self.ask("GET", "/nope", Upgrade="websocket").status for _ in range(2)]
        self.assertEqual(statuses, [404, 429])

    def test_only_where_it_is_mounted_exactly(self) -> None:
        """Nothing below is a door, and asking there counts as any request does."""
        statuses = [self.ask("GET", "/ws/x", **self.HANDSHAKE).status for _ in range(2)]
        self.assertEqual(statuses, [404, 429])

    def test_a_bug_in_the_taking_over(self) -> None:
        """The connection is nobody's then, and is cut."""
        self.mounts[b"/ws"] = Thief()
        self.site = self.make_site()
        line = Line(self.site)
        line.ask("GET", "/ws", headers=self.HANDSHAKE)
        self.assertEqual((line.heard(), line.aborted), (b"", True))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_asking_is_not_getting(self) -> None:
        """A resource may answer an upgrade as any request; what was sent ahead is then answered too."""
        line = Line(self.site)
        line.send(
            b"GET /page HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\nGET /page HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        self.assertEqual([answer.body for answer in responses(line.heard())], [b"page", b"page"])


class PathTests(SiteCase):
    def test_routes_are_found_in_any_spelling(self) -> None:
        for target in ("/health/live", "/health/live/", "/%68ealth/live", "/health/live?x=%ff"):
            self.assertEqual(self.ask("GET", target).status, 200, target)

    def test_but_not_in_a_like_one(self) -> None:
        for target in ("//health/live", "/health//live", "/health/live//", "/health%2Flive", "/Health/live"):
            self.assertEqual(self.ask("GET", target).status, 404, target)

    def test_what_is_missing_is_named(self) -> None:
        self.assertEqual(
            self.ask("GET", "/api/v2/é").json["error"],
            {
                "code": 3,
                "message": "Route not found",
                "details": {"resource": "Route", "id": "/api/v2/é"},
            },
        )

    def test_other_methods_are_told_which_are_allowed(self) -> None:
        answer = self.ask("PATCH", "/api/v1/messages")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD, OPTIONS, POST"))
        answer = self.ask("OPTIONS", "/api/messages/")
        self.assertEqual((answer.status, answer.headers["allow"]), (204, "GET, HEAD, OPTIONS, POST"))
        self.assertEqual(self.ask("OPTIONS", "/nope").status, 404)

    def test_head(self) -> None:
        """As GET, without the body."""
        got, asked = self.ask("GET", "/health/live"), self.ask("HEAD", "/health/live")
        self.assertEqual((asked.status, asked.body), (200, b""))
        self.assertEqual(asked.headers["content-length"], got.headers["content-length"])


class HomeTests(SiteCase):
    settings = evolve(SiteSettings(), name="a<b", version="1.2")

    def test_for_a_program(self) -> None:
        self.assertEqual(
            self.ask("GET", "/").json,
            {"name": "a<b", "version": "1.2", "status": "running", "timestamp": "1970-01-01T00:00:00.000Z"},
        )

    def test_for_a_person(self) -> None:
        answer = self.ask("GET", "/", Accept="text/html,*/*")
        self.assertEqual(answer.headers["content-type"], "text/html; charset=utf-8")
        self.assertIn(b"<h1>a&lt;b 1.2</h1>", answer.body)
        self.assertEqual(self.ask("HEAD", "/", Accept="text/html").status, 200)

    def test_what_is_off_is_not_listed(self) -> None:
        """A link leads to what answers a browser, and the path is the configured one."""
        rest, health = "REST: <code>/api/v1</code>", 'Health: <a href="/health"><code>/health</code></a>'
        websocket = "WebSocket: <code>/ws</code>"
        for given, listed in (
            ({}, [rest, websocket, 'GraphQL: <a href="/graphql"><code>/graphql</code></a>', health]),
            (
                {"GRAPHQL_PLAYGROUND_ENABLED": "no"},
                [rest, websocket, "GraphQL: <code>/graphql</code>", health],
            ),
            (
                {"GRAPHQL_PATH": "/q~1/x", "WEBSOCKET_ENABLED": "no"},
                [rest, 'GraphQL: <a href="/q~1/x"><code>/q~1/x</code></a>', health],
            ),
            ({"GRAPHQL_ENABLED": "no"}, [rest, websocket, health]),
            ({"GRAPHQL_ENABLED": "no", "WEBSOCKET_ENABLED": "no"}, [rest, health]),
        ):
            config = load_config({}, given, folder=None).config
            self.site = self.make_site(SiteSettings(index_entries=make_index_entries(config)))
            page = self.ask("GET", "/", Accept="text/html").body.decode()
            self.assertEqual(re.findall("<li>(.*)", page), listed)


class HealthTests(SiteCase):
    def test_a_bug_in_a_route(self) -> None:
        """It goes to the log whole, and to the client as 50 with nothing of it.

        docs/predecessor-faults.md#fault-17
        """
        self.health.ready = lambda: 1 / 0 > 0  # type: ignore[method-assign]
        answer = self.ask("GET", "/health/ready")
        self.assertEqual((answer.status, answer.json["error"]), (500, BUG))
        self.assertEqual(self.observed[0][:3], ("GET", "/health/ready", 500))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_well(self) -> None:
        for target, body in (
            ("/health", {"status": "healthy"}),
            ("/health/ready", {"status": "ready"}),
            ("/health/live", {"status": "alive"}),
        ):
            answer = self.ask("GET", target)
            self.assertEqual((answer.status, answer.json), (200, body))

    def test_unwell(self) -> None:
        self.health.status, self.health.is_ready = "unhealthy", False
        answer = self.ask("GET", "/health")
        self.assertEqual((answer.status, answer.json), (503, {"status": "unhealthy"}))
        answer = self.ask("GET", "/health/ready")
        self.assertEqual((answer.status, answer.json), (503, {"status": "not ready"}))
        self.assertEqual(self.ask("GET", "/health/live").status, 200)
