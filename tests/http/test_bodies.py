"""Bodies of requests that are compressed, and what they may cost; and fields with bytes that are no text."""

from __future__ import annotations

import gzip
import zlib

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import InvalidInput, TooLarge
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.http.compression import decompress
from multiproto.http.limits import HttpLimits
from multiproto.http.wiring import SiteSettings

from .client import Line
from .sites import SiteCase
from .test_dialogues import DialogueCase

LIMIT = 1000  # bytes


class DecompressTests(SynchronousTestCase):
    def test_the_limit_and_one_past_it(self) -> None:
        for size in (0, 1, LIMIT):
            self.assertEqual(decompress(gzip.compress(b"a" * size), LIMIT), b"a" * size)
        self.assertRaises(TooLarge, decompress, gzip.compress(b"a" * (LIMIT + 1)), LIMIT)
        self.assertRaises(TooLarge, decompress, gzip.compress(b"a" * 10**8), LIMIT)

    def test_what_is_not_one_whole_member(self) -> None:
        member = gzip.compress(b"{}")
        for bad in (
            b"",
            b"{}",
            member[:-1],
            member[:10],
            member + b"x",
            member + member,
            zlib.compress(b"{}"),
            member[:-8] + b"\0" * 8,  # another checksum
        ):
            self.assertRaises(InvalidInput, decompress, bad, LIMIT)


class CompressedBodyTests(SiteCase):
    limits = HttpLimits(max_body_bytes=LIMIT, read_rate=Rate(100.0, 2000.0))
    settings = SiteSettings(limits=limits)
    SIZE = len(b'{"data":""}')

    def publish(self, size: int, line: Line) -> int:
        """The status for a body that inflates to so many bytes."""
        body = gzip.compress(b'{"data":"%s"}' % (b"a" * (size - self.SIZE)))
        headers = {"Authorization": "Bearer token-ann", "Content-Encoding": "gzip"}
        line.ask("POST", "/api/v1/topics/a", body, headers)
        return line.answer().status

    def test_the_limit_is_on_what_it_holds(self) -> None:
        self.assertEqual(self.publish(LIMIT, Line(self.site)), 202)
        self.assertEqual(self.publish(LIMIT + 1, Line(self.site)), 413)

    def test_what_it_holds_counts_as_read(self) -> None:
        """So that a client can't send a thousand times faster than its rate by compressing."""
        line = Line(self.site)
        self.assertEqual(self.publish(LIMIT, line), 202)
        self.assertEqual(line.transport.producerState, "producing")
        self.assertEqual(self.publish(LIMIT, line), 202)
        self.assertEqual(line.transport.producerState, "paused")
        self.clock.advance(10)
        self.assertEqual(line.transport.producerState, "producing")


class HeaderByteTests(DialogueCase):
    """A field whose value is no text is taken as it is, or refused: never an error of ours."""

    FIELDS = (
        *(
            "Accept",
            "Accept-Encoding",
            "Authorization",
            "Connection",
            "Content-Encoding",
            "Content-Type",
            "Cookie",
        ),
        *("Idempotency-Key", "Last-Event-ID", "Origin", "Referer", "Sec-WebSocket-Extensions"),
        *("Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Upgrade", "User-Agent"),
        *("X-Correlation-ID", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID", "If-None-Match"),
        *("Access-Control-Request-Headers", "Access-Control-Request-Method", "Range", "Forwarded"),
    )
    VALUES = (
        b"\xff",
        b"Bearer \xff",
        b"\xc3",
        b"application/json; charset=\xff",
        b"websocket, \x80",
        b"gzip;q=\xb2",
    )
    HANDSHAKE = (
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )

    def test_each_field_on_each_protocol(self) -> None:
        statuses: set[int] = set()
        for line, fields, body in (
            (b"GET /", b"", b""),
            (b"OPTIONS /api/v1/topics/a", b"Origin: http://localhost\r\n", b""),
            (b"GET /api/v1/topics/a/events", b"", b""),
            (b"POST /api/v1/topics/a", b"Authorization: Bearer token-ann\r\n", b'{"data":1}'),
            (b"GET /ws", self.HANDSHAKE, b""),
            (b"GET /graphql?query={__typename}", b"", b""),
            (b"POST /graphql", b"Content-Type: application/json\r\n", b'{"query":"{__typename}"}'),
            (b"GET /graphql", self.HANDSHAKE, b""),
        ):
            for name in self.FIELDS:
                for value in self.VALUES:
                    given = fields
                    if name.encode() + b":" in fields:  # changed rather than added
                        given = b"".join(
                            each for each in fields.splitlines(True) if not each.startswith(name.encode())
                        )
                    request = b"%s HTTP/1.1\r\nHost: a\r\n%s%s: %s\r\nContent-Length: %d\r\n\r\n%s"
                    said = request % (line, given, name.encode(), value, len(body), body)
                    heard, *_ = self.exchange([said], "10.0.0.1")
                    status = int(heard.split(b" ", 2)[1])
                    statuses.add(status)
                    self.assertLess(status, 500, said)
        self.assertEqual(
            statuses & {101, 200, 202, 204, 400, 401, 415, 426}, {101, 200, 202, 204, 400, 401, 415, 426}
        )
