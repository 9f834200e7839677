"""The connection, byte by byte: RFC 9112, limits, deadlines, order, endings."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer
from zope.interface.verify import verifyObject

from multiproto.base.tcp_socket import TCP_CLOSE, TCP_CLOSE_WAIT, tcp_state
from multiproto.core.turn_scheduler import TIME_SLICE
from multiproto.http.channel import CONTINUE, PROBE_INTERVAL
from multiproto.http.chunked import MAX_STEPS
from multiproto.http.codec import MAX_FIELD_BYTES, MAX_FIELDS, MAX_REQUEST_LINE
from multiproto.http.limits import HttpLimits
from multiproto.http.wiring import SiteSettings
from tests.examples import examples

from ..fakes import ManualTurn, make_turns, run_one_turn
from .client import Line, responses
from .sites import SiteCase

LIVE = b"GET /health/live HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
END = b"\r\n"
OK = LIVE + HOST + END
POST = b"POST /api/v1/topics/a HTTP/1.1\r\n" + HOST
BODY_LIMIT = SiteSettings().limits.max_body_bytes
PATIENCE = 5.0  # of a drain, seconds


def line_of(size: int) -> bytes:
    """A request line of `size` bytes, to a route that is not there."""
    return b"GET /" + b"a" * (size - len(b"GET / HTTP/1.1")) + b" HTTP/1.1\r\n"


def fields_of(size: int) -> bytes:
    """Fields of `size` bytes with their line ends, Host among them."""
    rest = size - len(HOST)
    return HOST + b"X: " + b"a" * (rest - len(b"X: \r\n")) + b"\r\n"


# What is said, and the statuses that answer it.  After a 4xx or 5xx of the channel the line is closed.
DIALOGUES: dict[str, tuple[bytes, list[int]]] = {
    "a plain request": (OK, [200]),
    "two in one write are answered in order": (OK + b"GET /nope HTTP/1.1\r\n" + HOST + END, [200, 404]),
    "an empty line before it": (END + OK, [200]),
    "HTTP/1.0 needs no Host": (b"GET /health/live HTTP/1.0\r\n\r\n", [200]),
    "a later minor version": (OK.replace(b"1.1", b"1.9"), [200]),
    "absolute form": (b"GET http://b:80/health/live HTTP/1.1\r\n" + HOST + END, [200]),
    "absolute form without a path": (b"GET http://b HTTP/1.1\r\n" + HOST + END, [200]),
    "absolute form with a query": (b"GET http://b?a=1 HTTP/1.1\r\n" + HOST + END, [200]),
    "absolute form with a user": (b"GET http://u@b/ HTTP/1.1\r\n" + HOST + END, [400]),
    "asterisk form": (b"OPTIONS * HTTP/1.1\r\n" + HOST + END, [204]),
    "asterisk form with GET": (b"GET * HTTP/1.1\r\n" + HOST + END, [400]),
    "authority form": (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + END, [501]),
    "no slash": (b"GET a HTTP/1.1\r\n" + HOST + END, [400]),
    "a fragment": (b"GET /#a HTTP/1.1\r\n" + HOST + END, [400]),
    "a broken escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + END, [400]),
    "an escape that is not UTF-8": (b"GET /%ff HTTP/1.1\r\n" + HOST + END, [400]),
    "raw bytes that are not UTF-8": (b"GET /\xff HTTP/1.1\r\n" + HOST + END, [400]),
    "raw UTF-8": ("GET /é HTTP/1.1\r\n".encode() + HOST + END, [404]),
    "no Host": (LIVE + END, [400]),
    "two Hosts": (LIVE + HOST + HOST + END, [400]),
    "a Host that is none": (LIVE + b"Host: a b\r\n" + END, [400]),
    "a Host with an empty label": (LIVE + b"Host: a..b\r\n" + END, [400]),
    "a Host with a long label": (LIVE + b"Host: " + b"a" * 64 + END + END, [400]),
    "an IPv6 Host": (LIVE + b"Host: [::1]:3000\r\n" + END, [200]),
    "a method in lower case": (b"get / HTTP/1.1\r\n" + HOST + END, [501]),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + END, [501]),
    "a known method, elsewhere": (b"PATCH /health HTTP/1.1\r\n" + HOST + END, [405]),
    "a method that is no token": (b"G(T / HTTP/1.1\r\n" + HOST + END, [400]),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + END, [400]),
    "no version": (b"GET /\r\n" + HOST + END, [400]),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    "bare LF": (OK.replace(b"\r\n", b"\n"), [400]),
    "bare LF in the middle": (LIVE + b"Host: a\nX: b\r\n\r\n", [400]),
    "bare CR": (LIVE + b"Host: a\rX: b\r\n\r\n", [400]),
    "NUL": (LIVE + HOST + b"X: a\0b\r\n" + END, [400]),
    "NUL in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + END, [400]),
    "a folded field": (LIVE + HOST + b"X: a\r\n b\r\n" + END, [400]),
    "a folded first field": (LIVE + b" X: a\r\n" + HOST + END, [400]),
    "white space before the colon": (LIVE + HOST + b"X : a\r\n" + END, [400]),
    "a field without a name": (LIVE + HOST + b": a\r\n" + END, [400]),
    "a field without a colon": (LIVE + HOST + b"X\r\n" + END, [400]),
    "an empty value": (LIVE + HOST + b"X:\r\n" + END, [200]),
    "a value in Latin-1": (LIVE + HOST + b"X: \xe9\r\n" + END, [200]),
    "white space around a value": (LIVE + HOST + b"X: \t a \t\r\n" + END, [200]),
    "a body of its length": (POST + b"Content-Length: 2\r\n\r\n{}" + OK, [401, 200]),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}" + OK, [400]),
    "a length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\n{}" + OK, [400]),
    "an empty length": (POST + b"Content-Length:\r\n\r\n{}" + OK, [400]),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + OK, [400]),
    "a list of lengths": (POST + b"Content-Length: 2, 2\r\n\r\n{}" + OK, [400]),
    "a length of five thousand digits": (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", [413]),
    "chunked": (POST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n" + OK, [401, 200]),
    "chunked, with extensions and trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n" + OK,
        [401, 200],
    ),
    "identity": (POST + b"Transfer-Encoding: identity\r\n\r\n" + OK, [501]),
    "identity with a length": (POST + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", [400]),
    "chunked with a length": (
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + OK,
        [400],
    ),
    "chunked last of two": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + OK, [501]),
    "chunked twice": (
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + OK,
        [501],
    ),
    "something like chunked": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + OK, [501]),
    "chunked in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        [400],
    ),
    "a chunk size that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n" + OK, [400]),
    "a chunk size with a sign": (POST + b"Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n", [400]),
    "a chunk size ended by LF": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n", [400]),
    "an empty chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\n\r\n", [400]),
    "a chunk longer than it said": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n", [400]),
    "a trailer that is none": (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n", [400]),
    "a long chunk size line": (POST + b"Transfer-Encoding: chunked\r\n\r\n2;" + b"a" * 300 + b"\r\n", [400]),
    "too many trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + (b"X: " + b"a" * 8187 + b"\r\n") * 3,
        [431],
    ),
    "another expectation": (POST + b"Expect: 200-maybe\r\n\r\n", [417]),
    "close": (LIVE + HOST + b"Connection: Close\r\n" + END + OK, [200]),
    "a line at its limit": (line_of(MAX_REQUEST_LINE) + HOST + END, [404]),
    "a line past its limit": (line_of(MAX_REQUEST_LINE + 1) + HOST + END, [414]),
    "fields at their limit": (LIVE + fields_of(MAX_FIELD_BYTES) + END, [200]),
    "fields past their limit": (LIVE + fields_of(MAX_FIELD_BYTES + 1) + END, [431]),
    "as many fields as may be": (LIVE + HOST + b"X: a\r\n" * (MAX_FIELDS - 1) + END, [200]),
    "a field too many": (LIVE + HOST + b"X: a\r\n" * MAX_FIELDS + END, [431]),
}


class DialogueTests(SiteCase):
    requests = 10_000

    def say(self, *parts: bytes) -> tuple[list[int], bool]:
        """(statuses heard, whether the line was closed) on one connection, which is not the first."""
        line = Line(self.site)
        for part in parts:
            line.send(part)
        answers = responses(line.heard())
        for answer in answers:
            if answer.status >= 400:
                self.assertIs(answer.json["success"], False)
        closed = line.closed
        line.hang_up()
        return [answer.status for answer in answers], closed

    def test_table(self) -> None:
        """Each stream has its answers, as JSON, and never one more; nothing is a traceback."""
        heard = {name: self.say(said) for name, (said, _) in DIALOGUES.items()}
        self.assertEqual(
            {name: statuses for name, (statuses, _) in heard.items()},
            {name: expected for name, (_, expected) in DIALOGUES.items()},
        )
        open_after = {statuses[-1] for statuses, closed in heard.values() if not closed}
        self.assertEqual(open_after & {413, 414, 417, 431, 501, 505}, set())
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_byte_by_byte(self) -> None:
        """The same answers when each byte comes alone."""
        short = {name: dialogue for name, dialogue in DIALOGUES.items() if len(dialogue[0]) < 1000}
        heard = {
            name: self.say(*(said[n : n + 1] for n in range(len(said))))[0]
            for name, (said, _) in short.items()
        }
        self.assertEqual(heard, {name: expected for name, (_, expected) in short.items()})

    @settings(max_examples=examples(100), deadline=None)
    @given(st.sampled_from(sorted(DIALOGUES)), st.lists(st.floats(0, 1), max_size=6))
    def test_any_fragmentation(self, name: str, cuts: list[float]) -> None:
        said, expected = DIALOGUES[name]
        places = [0, *sorted(int(cut * len(said)) for cut in cuts), len(said)]
        self.assertEqual(self.say(*(said[a:b] for a, b in zip(places, places[1:])))[0], expected)

    @settings(max_examples=examples(200), deadline=None)
    @given(st.binary(max_size=200), st.sampled_from([b"", LIVE, LIVE + HOST, POST, OK]))
    def test_any_bytes(self, noise: bytes, before: bytes) -> None:
        """Whatever comes, what goes out is whole answers, and no bug shows."""
        line = Line(self.site)
        line.send(before + noise)
        self.assertNotIn(500, [answer.status for answer in responses(line.heard())])
        line.hang_up()
        self.assertEqual(self.clock.getDelayedCalls(), self.house_calls())

    def house_calls(self) -> list[object]:
        """The hub's sweep is always waiting; nothing of a connection may be."""
        return [call for call in self.clock.getDelayedCalls() if "LoopingCall" in repr(call.func)]

    def test_nothing_follows_a_refusal(self) -> None:
        """Never two responses to one request: what comes after an ambiguous one is not obeyed."""
        line = Line(self.site)
        line.send(POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + OK)
        line.send(OK)
        self.assertEqual([answer.status for answer in responses(line.heard())], [400])
        self.assertTrue(line.closed)

    def test_the_host_of_an_absolute_target_goes_before_the_field(self) -> None:
        """RFC 9112, 3.2.2: our own origin is that of the target."""
        line = Line(self.site)
        line.send(b"GET http://b/health/live HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n")
        self.assertEqual(line.answer().headers["access-control-allow-origin"], "http://b")


class BodyTests(SiteCase):
    def test_a_body_at_the_limit_is_taken(self) -> None:
        line = Line(self.site)
        line.send(POST + b"Content-Length: %d\r\n\r\n" % BODY_LIMIT + b"a" * BODY_LIMIT)
        self.assertEqual(line.answer().status, 401)

    def test_a_longer_one_is_refused_before_it_comes(self) -> None:
        """By its length alone, as 413 with the code of docs/common.md#error-codes.

        docs/predecessor-faults.md#fault-8, docs/predecessor-faults.md#fault-21
        """
        line = Line(self.site)
        line.send(POST + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1))
        answer = line.answer()
        self.assertEqual((answer.status, answer.code, line.closed), (413, 8, True))
        self.assertEqual(answer.headers["connection"], "close")

    def test_the_limit_is_the_one_that_is_configured(self) -> None:
        """The predecessor's fault: limits were configured and never read.

        docs/predecessor-faults.md#fault-6
        """
        self.site = self.make_site(SiteSettings(limits=HttpLimits(max_body_bytes=3)))
        for size, status in ((3, 401), (4, 413)):
            line = Line(self.site)
            line.ask("POST", "/api/topics/a", b"a" * size)
            self.assertEqual(line.answer().status, status)

    def test_chunks_up_to_the_limit(self) -> None:
        line = Line(self.site)
        half = BODY_LIMIT // 2
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        line.send((b"%x\r\n" % half + b"a" * half + b"\r\n") * 2 + b"0\r\n\r\n")
        self.assertEqual(line.answer().status, 401)

    def test_chunks_are_decoded_by_turns(self) -> None:
        """So many that they take several turns; meanwhile the connection is not read."""
        turn = ManualTurn(seconds=1.0, step=TIME_SLICE * 0.6)
        self.site.turns = make_turns(self.clock, turn)
        line = Line(self.site)
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        line.send(b"1\r\n{\r\n" * MAX_STEPS + b"0\r\n\r\n" + OK)
        self.assertEqual(line.transport.producerState, "paused")
        turns = 0
        while not line.transport.value() and turns < 10:
            turn.end()
            run_one_turn(self.clock)
            turns += 1
        turn.step = 0.0
        self.clock.advance(0)
        self.assertEqual([answer.status for answer in responses(line.heard())], [401, 200])
        self.assertGreater(turns, 2)
        self.assertEqual(line.transport.producerState, "producing")

    def test_a_body_is_read_by_turns(self) -> None:
        """While there is no time, its connection is not read; in its turn, what came since is read at once."""
        turn = ManualTurn(seconds=1.0)
        self.site.turns = make_turns(self.clock, turn)
        line = Line(self.site)
        transport: Any = line.transport
        transport.doRead, transport.connected = lambda: line.send(b"}"), True
        line.send(POST + b"Content-Length: 2\r\n\r\n{")
        self.assertEqual((line.heard(), line.transport.producerState), (b"", "paused"))
        turn.end()
        run_one_turn(self.clock)
        self.assertEqual([answer.status for answer in responses(line.heard())], [401])
        self.assertEqual(line.transport.producerState, "producing")

    def test_a_chunked_body_is_whole_also_if_its_client_half_closes_while_it_waits(self) -> None:
        turn = ManualTurn(seconds=1.0)
        self.site.turns = make_turns(self.clock, turn)
        line = Line(self.site)
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n")
        line.say_no_more()
        turn.end()
        self.clock.advance(0)
        self.assertEqual([answer.status for answer in responses(line.heard())], [401])

    def test_a_client_that_leaves_while_its_chunks_wait(self) -> None:
        turn = ManualTurn(seconds=1.0)
        self.site.turns = make_turns(self.clock, turn)
        line = Line(self.site)
        line.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n")
        line.hang_up()
        turn.end()
        self.clock.advance(0)
        self.assertEqual((line.heard(), line.transport.producerState), (b"", "paused"))
        self.assertEqual([seen[2] for seen in self.observed], [499])

    def test_a_chunk_too_many_is_refused_when_it_is_announced(self) -> None:
        line = Line(self.site)
        line.send(
            POST + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % BODY_LIMIT + b"a" * BODY_LIMIT + b"\r\n"
        )
        self.assertEqual(line.heard(), b"")
        line.send(b"1\r\n")
        answer = line.answer()
        self.assertEqual((answer.status, answer.code, line.closed), (413, 8, True))

    def test_what_comes_after_the_last_answer_is_forgotten(self) -> None:
        """The client may still be sending; it is read for a while so that it sees the answer."""
        line = Line(self.site)
        line.send(POST + b"Content-Length: 99999999\r\n\r\n")
        line.heard()
        for _ in range(100):
            line.send(b"a" * 65536)
        self.assertEqual((line.heard(), len(line.channel._reader.buffer)), (b"", 0))
        self.clock.advance(HttpLimits().linger_timeout)
        self.assertTrue(line.aborted)

    def test_continue(self) -> None:
        """Who waits for leave gets it, once the head is found good."""
        line = Line(self.site)
        line.send(POST + b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n")
        self.assertEqual(line.heard(), b"HTTP/1.1 100 Continue\r\n\r\n")
        line.send(b"{}")
        self.assertEqual(line.answer().status, 401)

    def test_no_continue_for_what_is_too_long(self) -> None:
        line = Line(self.site)
        line.send(POST + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
        self.assertEqual(line.answer().status, 413)

    def test_no_continue_where_no_body_follows(self) -> None:
        line = Line(self.site)
        line.send(LIVE + HOST + b"Expect: 100-continue\r\n\r\n")
        self.assertEqual(line.answer().status, 200)


class DeadlineTests(SiteCase):
    limits = HttpLimits()

    def test_a_silent_client_is_left_alone_then_closed(self) -> None:
        line = Line(self.site)
        self.clock.advance(self.limits.idle_timeout - 1)
        self.assertFalse(line.closed)
        self.clock.advance(1)
        self.assertEqual((line.closed, line.heard()), (True, b""))

    def test_idle_between_requests(self) -> None:
        line = Line(self.site)
        self.clock.advance(self.limits.idle_timeout - 1)
        line.send(OK)
        self.assertEqual(line.answer().status, 200)
        self.clock.advance(self.limits.idle_timeout - 1)
        self.assertFalse(line.closed)
        self.clock.advance(1)
        self.assertEqual((line.closed, line.heard()), (True, b""))

    def test_a_head_has_a_deadline_however_busily_it_comes(self) -> None:
        """Slowloris: a byte now and then does not buy time."""
        line = Line(self.site)
        for byte in (LIVE + HOST)[: int(self.limits.head_timeout)]:
            line.send(bytes([byte]))
            self.clock.advance(1)
        self.assertEqual((line.answer().status, line.closed), (408, True))

    def test_a_body_has_a_deadline_however_busily_it_comes(self) -> None:
        line = Line(self.site)
        line.send(POST + b"Content-Length: 1000\r\n\r\n")
        for _ in range(int(self.limits.body_timeout)):
            self.assertEqual(line.heard(), b"")
            line.send(b"a")
            self.clock.advance(1)
        self.assertEqual((line.answer().status, line.closed), (408, True))

    def test_the_deadline_of_what_was_sent_ahead_begins_with_its_turn(self) -> None:
        line = Line(self.site)
        line.send(OK + LIVE)
        line.heard()
        self.clock.advance(self.limits.head_timeout)
        self.assertEqual((line.answer().status, line.closed), (408, True))

    def test_lost_midway(self) -> None:
        """A client that leaves before its request was whole costs nothing more."""
        line = Line(self.site)
        line.send(POST + b"Content-Length: 10\r\n\r\nabc")
        line.hang_up()
        self.clock.advance(1000)
        self.assertEqual(line.heard(), b"")


class Slow(Resource):
    """Answers when the test says so."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[object] = []

    def render_GET(self, request: object) -> int:
        self.requests.append(request)
        return NOT_DONE_YET


@implementer(IPushProducer)
class Producer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")

    def stopProducing(self) -> None:
        self.calls.append("stop")


SLOW = b"GET /slow HTTP/1.1\r\n" + HOST + END


class OrderTests(SiteCase):
    def setUp(self) -> None:
        super().setUp()
        self.slow = Slow()
        self.mounts[b"/slow"] = self.slow
        self.site = self.make_site()
        self.line = Line(self.site)

    def finish(self, body: bytes = b"done") -> None:
        self.slow.requests[-1].respond(body)  # type: ignore[attr-defined]

    def statuses(self) -> list[int]:
        return [answer.status for answer in responses(self.line.heard())]

    def test_one_at_a_time(self) -> None:
        """What is sent ahead waits for the answer before it."""
        self.line.send(SLOW + OK + SLOW)
        self.assertEqual((self.statuses(), len(self.slow.requests)), ([], 1))
        self.finish()
        self.assertEqual((self.statuses(), len(self.slow.requests)), ([200, 200], 2))

    def test_what_is_sent_ahead_is_bounded(self) -> None:
        """Past the limit the client is not read until its turn comes."""
        self.line.send(SLOW)
        ahead = (OK * (HttpLimits().max_pipelined_bytes // len(OK) + 1))[: HttpLimits().max_pipelined_bytes]
        self.line.send(ahead)
        self.assertEqual(self.line.transport.producerState, "producing")
        self.line.send(b"X")
        self.assertEqual(self.line.transport.producerState, "paused")
        self.finish()
        self.assertEqual(self.line.transport.producerState, "producing")
        self.assertEqual(set(self.statuses()[:-1]), {200})

    def test_no_deadline_while_we_work(self) -> None:
        self.line.send(SLOW)
        self.clock.advance(3600)
        self.assertFalse(self.line.closed)
        self.finish()
        self.assertEqual(self.statuses(), [200])

    def test_a_client_that_does_not_read_is_not_read(self) -> None:
        """Requests without end from one who takes no answers cost a bounded buffer, then the line."""
        self.line.channel.pauseProducing()
        self.line.send(OK * 3)
        self.assertEqual(self.line.heard(), b"")
        self.line.send(b"X" * HttpLimits().max_pipelined_bytes)
        self.assertEqual(self.line.transport.producerState, "paused")
        self.line.channel.resumeProducing()
        self.assertEqual(self.statuses(), [200, 200, 200, 414])

    def test_a_client_that_never_reads_is_cut(self) -> None:
        self.line.send(SLOW)
        self.line.channel.pauseProducing()
        self.finish()
        self.clock.advance(HttpLimits().idle_timeout)
        self.assertTrue(self.line.aborted)

    def test_the_last_answer_may_take_its_time(self) -> None:
        """The line is closed once the client has taken the answer, not while it does."""
        self.line.send(SLOW.replace(HOST, HOST + b"Connection: close\r\n"))
        self.line.channel.pauseProducing()
        self.finish()
        self.clock.advance(HttpLimits().linger_timeout * 2)
        self.assertFalse(self.line.closed)
        self.line.channel.resumeProducing()
        self.assertEqual((self.line.closed, self.line.aborted), (True, False))

    def test_the_last_answer_may_not_take_for_ever(self) -> None:
        self.line.send(SLOW.replace(HOST, HOST + b"Connection: close\r\n"))
        self.line.channel.pauseProducing()
        self.finish()
        self.clock.advance(HttpLimits().idle_timeout)
        self.assertTrue(self.line.aborted)

    def test_a_body_goes_on_after_a_clog(self) -> None:
        self.line.send(POST + b"Content-Length: 2\r\n\r\n{")
        self.line.channel.pauseProducing()
        self.line.send(b"}")
        self.assertEqual(self.statuses(), [])
        self.line.channel.resumeProducing()
        self.assertEqual(self.statuses(), [401])

    def test_producers_hear_of_clogs(self) -> None:
        self.line.send(SLOW)
        request = self.slow.requests[0]
        producer = Producer()
        self.line.channel.pauseProducing()
        request.registerProducer(producer, True)  # type: ignore[attr-defined]
        self.line.channel.resumeProducing()
        self.line.channel.pauseProducing()
        request.unregisterProducer()  # type: ignore[attr-defined]
        self.line.channel.resumeProducing()
        self.assertEqual(producer.calls, ["pause", "resume", "pause"])

    def test_a_client_that_leaves_is_told_of(self) -> None:
        self.line.send(SLOW)
        left: Deferred[None] = self.slow.requests[0].notifyFinish()  # type: ignore[attr-defined]
        self.line.hang_up()
        self.failureResultOf(left)
        self.finish()  # too late, and no error
        self.assertEqual(self.observed, [("GET", "/slow", 499, 0.0, 0, 0)])


class DrainTests(SiteCase):
    """Nothing that clients do keeps a shutdown from ending (docs/predecessor-faults.md#fault-24)."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = Slow()
        self.mounts[b"/slow"] = self.slow
        self.site = self.make_site()

    def test_with_nobody_there(self) -> None:
        self.assertIsNone(self.successResultOf(self.site.drain(PATIENCE)))
        self.assertIsNone(self.site.buildProtocol(None))

    def test_idle_connections_are_closed(self) -> None:
        line = Line(self.site)
        line.send(OK)
        drained = self.site.drain(PATIENCE)
        self.assertTrue(line.closed)
        self.assertNoResult(drained)
        line.hang_up()
        self.successResultOf(drained)

    def test_an_idle_client_that_does_not_close_is_cut(self) -> None:
        line = Line(self.site)
        drained = self.site.drain(PATIENCE)
        self.clock.advance(HttpLimits().linger_timeout)
        self.assertTrue(line.aborted)
        self.successResultOf(drained)

    def test_what_is_being_answered_is_finished(self) -> None:
        line = Line(self.site)
        line.send(SLOW + OK)
        drained = self.site.drain(PATIENCE)
        self.assertFalse(line.closed)
        self.slow.requests[0].respond(b"done")  # type: ignore[attr-defined]
        answer = line.answer()
        self.assertEqual((answer.status, answer.headers["connection"], line.closed), (200, "close", True))
        line.hang_up()
        self.successResultOf(drained)

    def test_what_has_only_begun_to_arrive_is_declined(self) -> None:
        """It was not obeyed, so the client may try elsewhere."""
        for said in (LIVE, POST + b"Content-Length: 5\r\n\r\nab"):
            self.site = self.make_site()
            line = Line(self.site)
            line.send(said)
            self.site.drain(PATIENCE)
            answer = line.answer()
            self.assertEqual((answer.status, answer.code, line.closed), (503, 55, True))

    def test_one_that_is_closing_already(self) -> None:
        line = Line(self.site)
        line.send(LIVE + END)
        line.heard()
        self.site.drain(PATIENCE)
        self.assertEqual(line.heard(), b"")

    def test_event_streams_are_not_waited_for(self) -> None:
        line = Line(self.site)
        line.ask("GET", "/api/v1/topics/a/events", headers={"Authorization": "Bearer token-ann"})
        self.assertIn(b"event: subscribed", line.heard())
        self.successResultOf(self.site.drain(PATIENCE))
        self.successResultOf(self.site.close_remaining())
        self.assertTrue(line.aborted)

    def test_who_hears_the_last_of_it_has_a_moment_more(self) -> None:
        """A farewell is not thrown away with the connection; nor does it hold us up for long."""
        line = Line(self.site)
        line.ask("GET", "/api/v1/topics/a/events", headers={"Authorization": "Bearer token-ann"})
        self.successResultOf(self.site.drain(PATIENCE))
        line.channel.pauseProducing()
        self.successResultOf(self.house.hub.stopService())
        line.channel.resumeProducing()
        self.assertIn(b"event: farewell", line.heard())
        left = self.site.close_remaining()
        self.assertEqual((line.closed, line.aborted), (True, False))
        self.assertNoResult(left)
        self.clock.advance(HttpLimits().linger_timeout)
        self.assertTrue(line.aborted)
        self.successResultOf(left)

    def test_a_stream_that_begins_meanwhile_is_not_waited_for(self) -> None:
        line = Line(self.site)
        line.send(SLOW)
        drained = self.site.drain(PATIENCE)
        request = self.slow.requests[0]
        request.setHeader(b"Content-Type", b"text/event-stream")  # type: ignore[attr-defined]
        request.write(b": hello\n\n")  # type: ignore[attr-defined]
        self.successResultOf(drained)

    def test_what_is_not_answered_in_time_is_cut(self) -> None:
        line = Line(self.site)
        line.send(SLOW)
        drained = self.site.drain(PATIENCE)
        self.clock.advance(PATIENCE - 0.1)
        self.assertNoResult(drained)
        self.clock.advance(0.1)
        self.assertTrue(line.aborted)
        self.successResultOf(drained)

    def test_who_is_in_time_leaves_nothing_behind(self) -> None:
        before = self.clock.getDelayedCalls()
        self.successResultOf(self.site.drain(PATIENCE))
        line = Line(site := self.make_site())
        drained = site.drain(PATIENCE)
        line.hang_up()
        self.successResultOf(drained)
        self.assertEqual(self.clock.getDelayedCalls(), before)

    def test_answers_that_nobody_takes(self) -> None:
        """Wherever in its answers a client stopped reading, it has as long as any other to hear the last of it."""
        for said, before in (
            (SLOW, True),  # answered, and kept alive
            (SLOW.replace(HOST, HOST + b"Connection: close\r\n"), True),  # closing already
            (SLOW + SLOW + SLOW, True),  # more to answer
            (SLOW, False),  # answered meanwhile
        ):
            self.site = self.make_site()
            line = Line(self.site)
            line.send(said)
            line.channel.pauseProducing()
            request = self.slow.requests[-1]
            if before:
                request.respond(b"done")  # type: ignore[attr-defined]
            drained = self.site.drain(PATIENCE)
            if not before:
                request.respond(b"done")  # type: ignore[attr-defined]
            self.assertFalse(line.aborted)
            self.clock.advance(HttpLimits().linger_timeout)
            self.assertTrue(line.aborted)
            self.successResultOf(drained)


@define
class Kernel:
    """Says of a connection what TCP_INFO would."""

    in_flight: int = 1  # segments
    acknowledged: int = 0  # bytes

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return struct.pack("=24xI92xQ16xI", self.in_flight, self.acknowledged, 0)[:size]


class SlowReaderTests(SiteCase):
    """The last response of a connection is on its way to a client that reads slowly."""

    def setUp(self) -> None:
        super().setUp()
        self.kernel = Kernel()
        self.line = Line(self.site)
        self.line.transport.getHandle = lambda: self.kernel  # type: ignore[attr-defined]
        self.line.send(OK.replace(HOST, HOST + b"Connection: close\r\n"))

    def read_on(self, seconds: int) -> None:
        for _ in range(seconds):
            self.kernel.acknowledged += 1
            self.clock.advance(1)

    def test_it_has_a_minute_while_it_reads(self) -> None:
        self.read_on(int(HttpLimits().idle_timeout) - 1)
        self.assertFalse(self.line.aborted)
        self.read_on(1)
        self.assertTrue(self.line.aborted)

    def test_not_when_it_has_stopped(self) -> None:
        self.read_on(10)
        self.assertFalse(self.line.aborted)
        self.clock.pump([1] * 2)
        self.assertTrue(self.line.aborted)

    def test_nor_when_it_has_all_of_it(self) -> None:
        self.kernel.in_flight = 0
        self.read_on(1)
        self.assertFalse(self.line.aborted)
        self.read_on(1)
        self.assertTrue(self.line.aborted)

    def test_nor_when_the_server_stops(self) -> None:
        self.read_on(10)
        drained = self.site.drain(PATIENCE)
        self.read_on(2)
        self.successResultOf(drained)


class HalfCloseTests(SiteCase):
    """A client that says no more may still listen (RFC 9112, 9.6; `nc -N`)."""

    def setUp(self) -> None:
        super().setUp()
        self.slow = Slow()
        self.mounts[b"/slow"] = self.slow
        self.site = self.make_site()
        self.line = Line(self.site)

    def statuses(self) -> list[int]:
        return [answer.status for answer in responses(self.line.heard())]

    def finish(self) -> None:
        self.slow.requests[-1].respond(b"done")  # type: ignore[attr-defined]

    def test_the_transport_asks_for_it(self) -> None:
        self.assertTrue(verifyObject(IHalfCloseableProtocol, self.line.channel))

    def test_what_was_asked_is_answered(self) -> None:
        self.line.send(SLOW + OK + SLOW)
        self.line.say_no_more()
        self.finish()
        self.assertEqual((self.statuses(), self.line.closed), ([200, 200], False))
        self.finish()
        self.assertEqual((self.statuses(), self.line.closed, self.line.aborted), ([200], True, False))

    def test_where_nothing_is_asked_it_is_the_end(self) -> None:
        for said in (b"", OK, LIVE, POST + b"Content-Length: 5\r\n\r\nab"):
            line = self.line = Line(self.site)
            line.send(said)
            line.say_no_more()
            self.assertEqual(self.statuses(), [200] if said == OK else [])
            self.assertEqual((line.closed, line.aborted), (True, False))

    def test_half_a_request_behind_a_whole_one(self) -> None:
        self.line.send(SLOW + LIVE)
        self.line.say_no_more()
        self.finish()
        self.assertEqual((self.statuses(), self.line.closed), ([200], True))

    def test_an_answer_that_is_taken_slowly(self) -> None:
        self.line.send(SLOW + OK)
        self.line.channel.pauseProducing()
        self.line.say_no_more()
        self.finish()
        self.assertEqual((self.statuses(), self.line.closed), ([200], False))
        self.line.channel.resumeProducing()
        self.assertEqual((self.statuses(), self.line.closed), ([200], True))

    def test_the_last_answer_when_it_is_taken_slowly(self) -> None:
        self.line.send(SLOW.replace(HOST, HOST + b"Connection: close\r\n"))
        self.line.channel.pauseProducing()
        self.finish()
        self.line.say_no_more()
        self.assertFalse(self.line.closed)
        self.line.channel.resumeProducing()
        self.assertTrue(self.line.closed)

    def test_after_the_last_answer(self) -> None:
        """Nobody has anything to say: it is over at once."""
        self.line.send(LIVE + END)
        self.line.transport.disconnecting = False  # a half-close is all there was yet
        self.line.say_no_more()
        self.assertTrue(self.line.closed)

    def wait_for_turns(self) -> ManualTurn:
        """The present turn has used up its budget: requests wait for the next one."""
        turn = ManualTurn(seconds=1.0)
        self.site.turns = make_turns(self.clock, turn)
        return turn

    def peer(self) -> socket.socket:
        """The other end of a real connection, of which the line's transport has the state."""
        with socket.create_server(("127.0.0.1", 0)) as port:
            peer = socket.create_connection(port.getsockname())
            ours, _ = port.accept()
        self.addCleanup(ours.close)
        self.addCleanup(peer.close)
        self.line.transport.getHandle = lambda: ours  # type: ignore[attr-defined]
        self.ours = ours
        return peer

    def next_turn(self, turn: ManualTurn) -> bytes:
        """All that is sent in it, also to the real peer."""
        turn.end()
        run_one_turn(self.clock)
        sent = self.line.heard()
        with contextlib.suppress(OSError):
            self.ours.send(sent)
        return sent

    def test_one_whose_request_waits_is_asked_whether_it_is_still_there(self) -> None:
        """By an interim response, and then it is answered."""
        for is_asked, version in ((True, b"1.1"), (False, b"1.0")):
            self.line, turn = Line(self.site), self.wait_for_turns()
            peer = self.peer()
            self.line.send(OK.replace(b"1.1", version))
            self.assertEqual(self.line.heard(), b"")
            peer.shutdown(socket.SHUT_WR)
            if is_asked:
                self.assertEqual([self.next_turn(turn) for _ in range(2)], [CONTINUE, b""])
            self.assertIn(b" 200 OK", self.next_turn(turn))

    def test_for_one_that_has_left_nothing_is_done(self) -> None:
        """Not even if the connection is not read, for there are pipelined requests."""
        turn, peer = self.wait_for_turns(), self.peer()
        self.line.send(SLOW * 2)
        peer.close()
        self.assertEqual([self.next_turn(turn) for _ in range(3)], [CONTINUE, b"", b""])
        self.assertEqual((self.line.aborted, self.slow.requests), (True, []))

    def test_one_that_may_have_left_behind_what_is_not_read(self) -> None:
        """Its end is behind more than the system takes."""
        turn, peer = self.wait_for_turns(), self.peer()
        peer.setblocking(False)
        self.line.send(SLOW)
        self.line.send(b"G" * (HttpLimits().max_pipelined_bytes + 1))
        with contextlib.suppress(BlockingIOError):
            while True:
                peer.send(b"E" * 65536)
        peer.close()
        self.assertEqual(tcp_state(self.line.transport), 1)
        self.assertEqual([self.next_turn(turn) for _ in range(3)], [CONTINUE, b"", b""])
        self.assertEqual((self.line.aborted, self.slow.requests), (True, []))

    def test_one_that_waits_for_long_is_asked_once_a_second(self) -> None:
        """It may leave at any time."""
        self.line.send(SLOW)
        self.line.send(b"G" * (HttpLimits().max_pipelined_bytes + 1))
        asked: list[bool] = []
        for seconds in (0.0, PROBE_INTERVAL * 0.99, PROBE_INTERVAL * 0.02):
            self.clock.advance(seconds)
            self.line.channel.find_client("key", "test", lambda is_there: None)
            asked.append(self.line.heard() == CONTINUE)
        self.assertEqual(asked, [True, False, True])

    def test_one_that_has_left_below_tls(self) -> None:
        """The state is that of the connection below."""
        wrapper: Any = ProtocolWrapper(WrappingFactory(Factory()), None)
        turn, peer = self.wait_for_turns(), self.peer()
        wrapper.transport = self.line.transport
        self.assertEqual(tcp_state(wrapper), 1)
        peer.close()
        self.assertEqual(tcp_state(wrapper), TCP_CLOSE_WAIT)
        self.line.send(OK)
        self.assertEqual(self.next_turn(turn), CONTINUE)
        self.assertEqual(tcp_state(wrapper), TCP_CLOSE)

    def test_where_the_state_is_unknown_it_is_there(self) -> None:
        """As with a UNIX socket, and one that is closed."""
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            self.line.transport.getHandle = lambda each=each: each  # type: ignore[attr-defined]
            self.assertIsNone(tcp_state(self.line.transport))
            each.close()
            self.assertIsNone(tcp_state(self.line.transport))
        turn = self.wait_for_turns()
        self.line.send(OK)
        turn.end()
        run_one_turn(self.clock)
        self.assertEqual(self.statuses(), [200])

    def test_one_that_is_lost_while_it_is_asked(self) -> None:
        turn, peer = self.wait_for_turns(), self.peer()
        self.line.send(SLOW)
        peer.close()
        self.assertEqual(self.next_turn(turn), CONTINUE)
        self.line.hang_up()
        self.assertEqual([self.next_turn(turn) for _ in range(2)], [b"", b""])
        self.assertEqual(self.slow.requests, [])

    def test_one_that_is_there_is_not_asked(self) -> None:
        turn = self.wait_for_turns()
        self.peer()
        self.line.send(OK)
        self.assertIn(b" 200 OK", self.next_turn(turn))

    def test_an_event_stream_ends(self) -> None:
        """Otherwise one whose client left would be found out at its next keep-alive only."""
        self.line.ask("GET", "/api/v1/topics/a/events", headers={"Authorization": "Bearer token-ann"})
        self.line.say_no_more()
        self.assertTrue(self.line.aborted)

    def test_it_does_not_hold_up_a_shutdown(self) -> None:
        self.line.send(SLOW + SLOW)
        self.line.say_no_more()
        drained = self.site.drain(PATIENCE)
        self.finish()
        self.assertEqual((self.statuses(), self.line.closed), ([200], True))
        self.clock.advance(HttpLimits().linger_timeout)
        self.successResultOf(drained)


class CrowdTests(SiteCase):
    """One address can't fill the memory with what it has only begun to say."""

    settings = SiteSettings(max_connections_per_network=2)

    def test_one_too_many(self) -> None:
        first, _ = Line(self.site), Line(self.site)
        third = Line(self.site)
        answer = third.answer()
        self.assertEqual((answer.status, answer.code, answer.headers["connection"]), (503, 55, "close"))
        self.assertTrue(third.closed)
        self.assertFalse(Line(self.site, "10.0.0.2").closed)
        first.hang_up()
        self.assertFalse(Line(self.site).closed)
        self.assertTrue(Line(self.site).closed)

    def test_a_network_is_one_address(self) -> None:
        lines = [Line(self.site, f"2001:db8::{number}") for number in (1, 2, 3)]
        self.assertEqual([line.closed for line in lines], [False, False, True])

    def test_event_streams_have_a_limit_of_their_own(self) -> None:
        streams = [Line(self.site) for _ in range(2)]
        for line in streams:
            line.ask("GET", "/api/v1/topics/a/events", headers={"Authorization": "Bearer token-ann"})
        others = [Line(self.site) for _ in range(3)]
        self.assertEqual([line.closed for line in others], [False, False, True])
        streams[0].hang_up()
        self.assertTrue(Line(self.site).closed)

    def test_one_whose_stream_ended_counts_again(self) -> None:
        line = Line(self.site)
        line.ask("HEAD", "/api/v1/topics/a/events", headers={"Authorization": "Bearer token-ann"})
        self.assertFalse(line.closed)
        self.assertEqual([Line(self.site).closed for _ in range(2)], [False, True])
