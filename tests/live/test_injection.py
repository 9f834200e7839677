"""What clients say stays what it is: no header, event, line of the log or metric is made of it, and no other page speaks for a user."""

from __future__ import annotations

import json
import re
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from multiproto.config import Config
from multiproto.observe.logs import format_json, format_text

from .clients import Rest
from .operators import look_over
from .running import LiveCase

OURS, STRANGE = "https://app.example.org", "https://evil.example.org"
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Ends lines, events, headers and strings in whatever they are put into.
NASTY = 'x\r\nX-Evil: 1\r\n\r\nevent: evil\ndata: "evil"\n\nid: 9\r\r\u2028\u2029\u0085\x1b[31mevil"} 1\n{"evil": true}\n'

HANDSHAKE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
QUERY = b'{"query": "{ health { status } }"}'

NO_TEXT = (b"\xff", b"Bearer \xc3\x28", b"text/html, \xe9;q=\x80")  # not UTF-8
HEADERS = (
    *(
        "Accept",
        "Accept-Encoding",
        "Authorization",
        "Connection",
        "Content-Encoding",
        "Content-Type",
        "Cookie",
    ),
    *("Expect", "Forwarded", "Idempotency-Key", "If-None-Match", "Last-Event-ID", "Origin", "Referer"),
    *("Access-Control-Request-Method", "Access-Control-Request-Headers", "Upgrade", "User-Agent"),
    *("Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version"),
    *("X-Correlation-ID", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-ID"),
)
ROUTES = (
    *("/", "/health", "/nowhere", "/openapi.json", "/graphql", "/graphql?query=%7B__typename%7D"),
    *("/api/v1/auth/me", "/api/v1/messages", "/api/v1/topics/a/events"),
)
METRICS_ROUTES = ("/metrics", "/metrics/json", "/health", "/stats")


class Said(Protocol):
    """All that a connection heard until its end; `answered` fires with the first whole response or the end."""

    def __init__(self) -> None:
        self.heard = b""
        self.answered: Deferred[None] = Deferred()
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        head, separator, body = self.heard.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if separator and len(body) >= int(length[1] if length else 0):
            self.answer()

    def answer(self) -> None:
        if not self.answered.called:
            self.answered.callback(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.answer()
        self.ended.callback(self.heard)


class InjectionTests(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, http=evolve(config.http, origins=(OURS,)))

    async def asyncSetUp(self) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)
        self.ann = await self.person("Ann")

    async def raw(self, request: bytes, port: int | None = None) -> tuple[int, list[str], bytes]:
        """Status, lines of the head, and what follows it, of a request that is sent as it is."""
        endpoint = self.address.endpoint(port or self.address.http)
        said: Any = await connectProtocol(endpoint, Said())  # type: ignore[arg-type]
        said.transport.write(request)
        await said.answered
        said.transport.loseConnection()
        head, _, rest = (await said.ended).partition(b"\r\n\r\n")
        return int(head.split(b" ")[1]), head.decode("latin-1").split("\r\n"), rest

    async def asked(self, method: str, path: str, more: str = "", body: bytes = b"") -> Any:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        return await self.raw(head.encode("latin-1") + body)

    async def test_another_page_opens_no_socket_and_reads_no_answer(self) -> None:
        for path, protocol in (("/ws", ""), ("/graphql", "Sec-WebSocket-Protocol: graphql-transport-ws\r\n")):
            for origin, status in ((OURS, 101), (STRANGE, 403), ("null", 403), (OURS + ".evil.org", 403)):
                got, _, _ = await self.asked("GET", path, f"{HANDSHAKE}{protocol}Origin: {origin}\r\n")
                self.assertEqual(got, status, (path, origin))
        kind = "Content-Type: application/json\r\n"
        for path, method, body in (("/graphql", "POST", QUERY), ("/api/v1/auth/me", "GET", b"")):
            for origin, allowed in ((OURS, True), (STRANGE, False), ("null", False)):
                _, head, _ = await self.asked(method, path, f"{kind}Origin: {origin}\r\n", body)
                shown = [line for line in head if line.lower().startswith("access-control-allow-origin")]
                self.assertEqual(shown, [f"Access-Control-Allow-Origin: {origin}"] if allowed else [])

    async def test_a_form_of_another_page_is_no_query(self) -> None:
        """Such a page may send these without asking first."""
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            status, _, _ = await self.asked("POST", "/graphql", f"Content-Type: {kind}\r\n", QUERY)
            self.assertEqual(status, 415, kind)

    async def test_no_header_is_made_of_what_is_sent(self) -> None:
        for more in (
            "X-Correlation-ID: a\rX-Evil: 1\r\n",
            "X-Correlation-ID: a\nX-Evil: 1\r\n",
            "X-Correlation-ID: a\x00b\r\n",
            "Origin: https://a\rX-Evil: 1\r\n",
            "Sec-WebSocket-Protocol: a\rX-Evil: 1\r\n",
            "X-Forwarded-Proto: a\rX-Evil: 1\r\n",
        ):
            _, head, _ = await self.asked("GET", "/health/live", more)
            self.assertEqual([line for line in head if re.search("(?i)^x-evil|[\r\n\x00]", line)], [], more)
        for path in ("/api/v1/users/%0d%0aX-Evil:%201", "/%0d%0aX-Evil:%201", "/?a=%0d%0aX-Evil:%201"):
            status, head, _ = await self.asked("GET", path)
            self.assertEqual([line for line in head if "X-Evil" in line], [], path)

    async def test_bytes_that_are_no_text_are_nobodys_fault(self) -> None:
        """In no header, on no route, do they cause an error here (or a traceback, which would fail this test)."""
        token = f"Authorization: Bearer {self.ann.token}\r\n"
        json = "Content-Type: application/json\r\n"
        graphql_socket = HANDSHAKE + "Sec-WebSocket-Protocol: graphql-transport-ws\r\n"
        requests = [
            *((self.address.http, "GET", path, token, b"") for path in ROUTES),
            (self.address.http, "POST", "/api/v1/topics/a", token + json, b'{"data": 1}'),
            (
                self.address.http,
                "POST",
                "/api/v1/messages",
                token + json,
                b'{"channelId": "c", "content": "x"}',
            ),
            (self.address.http, "POST", "/api/v1/auth/login", json, b'{"email": "a@b.cc", "password": "x"}'),
            (self.address.http, "POST", "/graphql", token + json, QUERY),
            (self.address.http, "OPTIONS", "/api/v1/auth/me", "", b""),
            (self.address.http, "GET", "/ws", HANDSHAKE, b""),
            (self.address.http, "GET", "/graphql", graphql_socket, b""),
            *((self.address.metrics, "GET", path, "", b"") for path in METRICS_ROUTES),
        ]
        for port, method, path, more, body in requests:
            for name in HEADERS:
                own = "".join(
                    line + "\r\n" for line in more.split("\r\n") if line and line.partition(":")[0] != name
                )
                for value in NO_TEXT:
                    head = (
                        f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{own}{name}: "
                    )
                    said = head.encode() + value + b"\r\n\r\n" + body
                    status, _, _ = await self.raw(said, port)
                    self.assertLess(status, 500, (method, path, name, value))

    async def test_a_delivery_is_one_event(self) -> None:
        over_rest = await self.ann.stream("GET", "/api/v1/topics/room/events")
        query = 'subscription { topic(pattern: "room") { data metadata } }'
        over_graphql = await self.ann.stream("POST", "/graphql", {"query": query})
        await over_rest.inbox.next()
        body = {"data": NASTY, "metadata": {NASTY: NASTY}}
        status, _ = await self.ann.rest.ask("POST", "/api/v1/topics/room", body)
        self.assertEqual(status, 202)
        for events in (over_rest, over_graphql):
            kind, said = await events.inbox.next()
            told = said if events is over_rest else said["data"]["topic"]
            self.assertEqual((told["data"], told["metadata"][NASTY]), (NASTY, NASTY), kind)
        await self.ann.rest.ask("POST", "/api/v1/topics/room", {"data": "last"})
        _, said = await over_rest.inbox.next()
        self.assertEqual(said["data"], "last")

    async def test_no_line_of_the_log_and_no_metric_is_made_of_what_is_sent(self) -> None:
        device, socket = await self.ann.device(), await self.ann.websocket()
        bare = Rest(self.address)
        await bare.ask("POST", "/api/v1/auth/login", {"email": NASTY, "password": NASTY})
        await bare.ask("POST", "/api/v1/auth/refresh", {"refreshToken": NASTY})
        await bare.graphql("query evil_operation($a: String) { evil }", a=NASTY)
        for kind in (0x01, 0x10, 0x11, 0x20, 0x77):
            await device.ask(kind, token=NASTY, topic=NASTY, content=NASTY)
        for word in ("auth", "subscribe", "message", NASTY):
            await socket.ask(type=word, token=NASTY, topic=NASTY, data=NASTY)
        await self.asked("EVIL", "/evil", "User-Agent: evil\x1b[31m\r\nX-Correlation-ID: evil\x1b[31m\r\n")
        await self.asked("GET", "/api/v1/users/" + "evil%0A%1b[31m", "Authorization: Bearer evil\x1b[31m\r\n")
        self.assertGreater(len(self.events), 5)
        for event in self.events:
            line = format_json(event)
            self.assertNotRegex(line, CONTROL)
            self.assertNotIn("evil", json.loads(line))
            if "log_failure" not in event:
                self.assertNotRegex(format_text(event), CONTROL)
        self.assertNotIn("evil", (await look_over(self.address)).lower())
