"""The short way for ordinary requests can't be told from the long one: whatever comes, in whatever pieces."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from multiproto.http import access_log
from multiproto.http.quick import Quick
from multiproto.http.site import Site, SiteSettings

from .client import Line, responses
from .sites import SiteCase

PATHS = (
    *("/health", "/health/ready", "/health/live", "/", "/nowhere", "/.well-known/jwks.json", "/healthy", "*"),
    *("/api/v1/topics/room", "/api/topics/room.1", "/api/v1/topics/a..b", "/api/v1/topics/room/explain"),
    *("/api/v1/topics", "/api/v1/auth/login", "/api/auth/register", "/api/v1/users/x", "/api/v1/auth/audit"),
    *("/api/v1/topics/r%6fom", "/api/v1/topics/r%C3%B6m", "/api/v1/topics/r%FFm", "/health/%6cive"),
    *("/health/live/", "//health/live", "/health//live", "/health/live/x", "/HEALTH/live", "/api/v1/topics/"),
)
QUERIES = (
    "",
    "?",
    "?verb=publish",
    "?verb=eat&verb=eat",
    "?verb=publish&verb=history",
    "?a=%FF",
    "?" + "a=1&" * 120,
)
FIELDS = (
    "Authorization: Bearer token-ann",
    "authorization: bearer token-bob",
    "Authorization: Bearer nobody",
    "Authorization: Basic x",
    "Accept-Encoding: gzip",
    "Accept-Encoding: gzip;q=0, br",
    "Origin: http://localhost:5000",
    "Origin: https://evil.example.org",
    "X-Correlation-ID: mine",
    "X-Correlation-ID: not \xe4 good one",
    "X-Request-ID: another",
    "X-Forwarded-For: 192.0.2.7",
    "Content-Type: application/json; charset=latin-1",
    "Content-Type: text/plain",
    "Content-Encoding: gzip",
    "Connection: close",
    "Connection: keep-alive, x",
    "Expect: 100-continue",
    "Expect: more",
    "Upgrade: websocket",
    "Idempotency-Key: k",
    "Bad Field: x",
    " folded",
)
BODIES = (
    b"",
    b"{}",
    b'{"data": {"a": [1, null]}}',
    b'{"data": 1, "metadata": {"a": "b"}}',
    b'{"data": 1, "metadata": 2}',
    b'{"data": "%s"}' % (b"x" * 2000),
    b'{"data": 1',
    b"data=1&data=2",
    b"[1]",
)

requests = st.builds(
    lambda method, path, query, version, host, fields, body, length: (
        f"{method} {path}{query} {version}\r\n".encode("latin-1")
        + "".join(f"{field}\r\n" for field in [*host, *fields]).encode("latin-1")
        + (f"Content-Length: {len(body) + length}\r\n".encode() if body or length else b"")
        + b"\r\n"
        + body
    ),
    st.sampled_from(("GET", "POST", "GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "BREW")),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
    st.sampled_from(("HTTP/1.1",) * 8 + ("HTTP/1.0", "HTTP/2.0", "http/1.1")),
    st.sampled_from((["Host: example.org"],) * 8 + ([], ["Host: a", "Host: b"], ["Host: /"])),
    st.lists(st.sampled_from(FIELDS), max_size=4),
    st.sampled_from(BODIES),
    st.sampled_from((0,) * 12 + (1, 2**20)),
)


class TwoCase(SiteCase):
    """`self.both`: sites that differ in nothing but the way."""

    requests = 100_000

    def setUp(self) -> None:
        self.both: list[tuple[Any, ...]] = []
        for fast in (True, False):
            super().setUp()
            site, observed = self.make_site(SiteSettings(fast=fast)), []
            site.on_request_done = lambda *seen, observed=observed: observed.append(seen)
            self.both.append((site, observed, self.health))
        self.log: list[Any] = []
        self.patch(access_log, "LOG", Logger(observer=self.log.append))

    def outcome(self, site: Site, observed: list[Any], pieces: list[bytes], host: str) -> tuple[Any, ...]:
        """All that can be known of what a site made of it."""
        site.clock.advance(61)  # type: ignore[attr-defined]  # nobody has asked for anything lately
        self.log.clear()
        observed.clear()
        line = Line(site, host)
        for piece in pieces:
            if not line.closed:
                line.send(piece)
        heard, closed = line.heard(), line.closed
        line.hang_up()
        self.flushLoggedErrors()
        logged = [{name: value for name, value in each.items() if name != "log_time"} for each in self.log]
        return heard, closed, logged, list(observed)


class SameTests(TwoCase):
    @settings(max_examples=1500, deadline=None)
    @given(
        st.lists(requests, min_size=1, max_size=4),
        st.lists(st.integers(1, 400), max_size=4),
        st.integers(0, 3),
        st.data(),
    )
    def test_whatever_comes(self, said: list[bytes], cuts: list[int], n: int, data: st.DataObject) -> None:
        stream = bytearray(b"".join(said))
        if n == 0:  # broken anywhere
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
        self.both_say(stream, cuts, f"10.0.0.{n}")

    @settings(max_examples=300, deadline=None)
    @given(
        requests,
        st.integers(2, 4),
        st.lists(st.integers(1, 400), max_size=6),
        st.sampled_from((b"", b"\r\n")),
    )
    def test_the_same_again(self, said: bytes, times: int, cuts: list[int], between: bytes) -> None:
        """As most clients do; some send an empty line in between."""
        self.both_say(bytearray(between.join([said] * times)), cuts, "10.0.0.9")

    def both_say(self, stream: bytearray, cuts: list[int], host: str) -> None:
        pieces, at = [], 0
        for cut in [*cuts, len(stream)]:
            pieces.append(bytes(stream[at : at + cut]))
            at += cut
        fast, plain = (self.outcome(site, seen, pieces, host) for site, seen, _ in self.both)
        self.assertEqual(fast, plain)


class ShortTests(TwoCase):
    """It is taken at all, and only where it should be."""

    def way(self, head: str, host: str = "10.0.0.1") -> bool:
        """Whether that is answered by the short way."""
        taken: list[Quick] = []
        process = Quick.process
        self.patch(Quick, "process", lambda request: (taken.append(request), process(request))[1])
        line = Line(self.both[0][0], host)
        line.send(head.encode() + b"\r\nHost: a\r\n\r\n")
        self.assertTrue(line.heard().startswith(b"HTTP/1."))
        line.hang_up()
        return bool(taken)

    def test_ordinary_requests_take_it(self) -> None:
        for head in (
            "GET /health/live HTTP/1.1",
            "GET /api/topics/room/explain?verb=publish HTTP/1.1\r\nAuthorization: Bearer token-ann",
            "POST /api/v1/topics/room HTTP/1.1\r\nAuthorization: Bearer token-ann",
        ):
            self.assertTrue(self.way(head), head)

    def test_others_do_not(self) -> None:
        for head in (
            "GET /health/live HTTP/1.0",
            "HEAD /health/live HTTP/1.1",
            "GET /health/live/ HTTP/1.1",
            "GET /health/l%69ve HTTP/1.1",
            "GET /health/live HTTP/1.1\r\nAccept: a\r\nAccept: b",
            "GET / HTTP/1.1",
            "GET /nowhere HTTP/1.1",
            "GET /api/v1/topics/room/events HTTP/1.1\r\nAuthorization: Bearer nobody",
        ):
            self.assertFalse(self.way(head), head)

    def test_the_fields_of_the_request_before_are_not_kept_for_another(self) -> None:
        """What is understood once is taken again only for the same bytes."""
        line = Line(self.both[0][0])
        said = "POST /api/v1/topics/room HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s"
        for name, body in (
            ("token-ann", '{"data":1}'),
            ("token-bob", '{"data":1}'),
            ("token-bob", '{"data":22}'),
            ("", '{"data":1}'),
        ):
            line.send((said % (name, len(body), body)).encode())
        self.assertEqual([answer.status for answer in responses(line.heard())], [202, 202, 202, 401])

    def test_a_bug_behind_the_answer_is_logged(self) -> None:
        site, _, _ = self.both[0]
        site.on_request_done = lambda *seen: 1 / 0
        line = Line(site)
        line.send(b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n")
        self.assertTrue(line.heard().endswith(b'{"status":"alive"}'))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        site.on_request_done = lambda *seen: None
        line.hang_up()

    def test_a_client_that_leaves_ends_what_it_asked_for(self) -> None:
        for site, observed, health in self.both:
            ended: list[str] = []
            waiting: Deferred[Any] = Deferred(lambda _, ended=ended: ended.append("report"))
            self.patch(health, "report", lambda waiting=waiting: waiting)
            line = Line(site)
            line.send(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
            line.hang_up()
            self.assertEqual((ended, observed[-1][2]), (["report"], access_log.CLIENT_CLOSED_REQUEST))
            self.assertEqual(self.flushLoggedErrors(), [])
