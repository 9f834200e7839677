"""RFC 6455 to the letter, in raw bytes, for both endpoints: the handshake, bad frames, closings."""

from __future__ import annotations

import json
import zlib

from autobahn.twisted.testing import create_memory_agent, create_pumper
from autobahn.twisted.websocket import WebSocketClientProtocol
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from multiproto.core.errors import Unauthorized
from multiproto.core.protocol import CloseReason
from multiproto.core.turn_scheduler import TURN_BUDGET
from multiproto.rfc6455.codec import encode_frame as server_frame
from multiproto.rfc6455.handshake import MAX_HANDSHAKE_SIZE
from multiproto.websocket.protocol import WebSocketFactory

from ..fakes import ManualTurn, make_core, make_turns, run_one_turn
from .endpoints import ANSWER, ASK, Endpoint, Events, Operations
from .wire import ACCEPT, BINARY, CLOSE, CONTINUATION, MASK, PING, TEXT, close, frame, frames, pieces, spoken

ALLOWED = "https://app.example.org"

# Mostly well-formed frames with any bits set, and sometimes anything.
noise = st.lists(
    st.binary(max_size=20)
    | st.builds(
        frame,
        st.integers(0, 15),
        st.binary(max_size=130) | st.just(b'{"type": "ping"}'),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1, 4]),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=6,
).map(b"".join)
places = st.lists(st.integers(min_value=0), max_size=6)  # where they are cut


class Handshakes(Endpoint):
    def answer(self, *request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request that comes in these pieces."""
        protocol, self.wire = self.bare(lambda origin: origin == ALLOWED)
        for piece in request:
            protocol.dataReceived(piece)
        if protocol.refusal is not None:
            self.assertEqual(self.wire.take(), b"")  # the HTTP server answers
            lines = {name.decode(): value.decode() for name, value in protocol.refusal.headers}
            return protocol.refusal.status, lines, protocol.refusal.body
        head, _, body = self.wire.take().partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body

    def refused(self, request: bytes, status: int) -> dict[str, str]:
        admitted = len(self.house.hub)
        code, headers, body = self.answer(request)
        self.assertEqual(code, status)
        self.refusal = self.told(body)
        self.assertEqual(len(self.house.hub), admitted)
        return headers

    def test_accepted(self) -> None:
        self.assertEqual(
            self.answer(self.handshake()),
            (
                101,
                {"Upgrade": "WebSocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
                | self.agreed,
                b"",
            ),
        )

    def test_accepted_in_any_pieces(self) -> None:
        self.assertEqual(self.answer(*(bytes([byte]) for byte in self.handshake()))[0], 101)

    def test_names_and_tokens_in_any_case(self) -> None:
        request = self.handshake(Upgrade="WEBSOCKET", Connection="keep-alive, UPGRADE")
        self.assertEqual(self.answer(request.replace(b"Sec-WebSocket-Key", b"SEC-WEBSOCKET-KEY"))[0], 101)

    def test_a_wrong_version_is_426_and_told_the_right_one(self) -> None:
        for version in ("8", "14", "x", "13, 8", None):
            headers = self.refused(self.handshake(Sec_WebSocket_Version=version), 426)
            self.assertEqual(
                headers, {"Sec-WebSocket-Version": "13", "Upgrade": "websocket", "Connection": "Upgrade"}
            )
        self.refused(self.handshake("Sec-WebSocket-Version: 13"), 426)

    def test_no_handshake_at_all_is_426(self) -> None:
        self.refused(b"GET /ws HTTP/1.1\r\nHost: example.com\r\n\r\n", 426)
        self.refused(self.handshake(Upgrade=None), 426)

    def test_what_a_handshake_must_have(self) -> None:
        for request in (
            self.handshake(Host=None),
            self.handshake("Host: other.example"),
            self.handshake(Upgrade="h2c"),
            self.handshake(Connection=None),
            self.handshake(Connection="close"),
            self.handshake(Sec_WebSocket_Key=None),
            self.handshake(Sec_WebSocket_Key="short"),
            self.handshake(Sec_WebSocket_Key="!" * 22 + "=="),
            self.handshake("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            self.handshake(Sec_WebSocket_Protocol="a, a"),
            self.handshake().replace(b"/ws", b"/ws#x"),
            self.handshake().replace(b"GET /ws", b"GET /ws x"),
        ):
            self.refused(request, 400)

    def test_another_method_is_405(self) -> None:
        self.assertEqual(self.refused(self.handshake().replace(b"GET", b"POST"), 405)["Allow"], "GET")

    def test_http_1_0_is_505(self) -> None:
        self.refused(self.handshake().replace(b"HTTP/1.1", b"HTTP/1.0"), 505)

    def test_the_handshake_is_bounded(self) -> None:
        """Stock Autobahn accepts 300 KiB of it, and more."""
        size = MAX_HANDSHAKE_SIZE - len(self.handshake("X: "))
        self.assertEqual(self.answer(self.handshake("X: " + "x" * size))[0], 101)
        self.refused(self.handshake("X: " + "x" * (size + 5)), 431)
        self.refused(b"x" * (MAX_HANDSHAKE_SIZE + 1), 431)

    def test_an_unfinished_handshake_is_waited_for(self) -> None:
        protocol, wire = self.bare()
        protocol.dataReceived(self.handshake()[:-1])
        protocol.connectionLost()
        self.assertEqual(wire.value(), b"")

    def test_control_characters_and_folded_lines_are_refused(self) -> None:
        for bad in ("X: a\x0bOrigin: http://x", "X: a\0", "X: a\rOrigin: b", "X: a\nb: c", "X: a\r\n b"):
            self.refused(self.handshake(bad), 400)

    def test_a_next_line_character_ends_no_line(self) -> None:
        request = self.handshake("X: \x85Origin: http://evil.example").replace(b"\xc2\x85", b"\x85")
        self.assertEqual(self.answer(request)[0], 101)

    def test_origins(self) -> None:
        for origin, status in [
            (ALLOWED, 101),
            ("http://example.com", 101),
            ("https://EXAMPLE.com", 101),
            ("http://evil.example", 403),
            ("http://example.com.evil.example", 403),
            ("http://example.com:81", 403),
            ("null", 403),
            ("file:///x", 403),
            ("nonsense", 400),
            ("http://x:y", 400),
        ]:
            self.assertEqual(self.answer(self.handshake(Origin=origin))[0], status, origin)
        self.refused(self.handshake(f"Origin: {ALLOWED}", Origin=ALLOWED), 400)

    def test_our_own_page_over_tls(self) -> None:
        """One that came without TLS may be anybody's who is on its way; ports and other schemes are others, too."""
        for origin, status in [
            ("https://example.com", 101),
            ("https://EXAMPLE.com", 101),
            ("http://example.com", 403),
            ("HTTP://example.com", 403),
            ("https://example.com:444", 403),
            ("app://example.com", 403),
        ]:
            protocol, wire = self.bare()
            protocol.secure = True
            protocol.dataReceived(self.handshake(Origin=origin))
            self.assertEqual(protocol.refusal.status if protocol.refusal else 101, status, origin)
        self.assertEqual(self.answer(self.handshake(Origin="app://example.com"))[0], 403)

    def test_a_refusal_says_why_in_json(self) -> None:
        self.refused(self.handshake(Origin="http://evil.example"), 403)
        self.assertEqual(self.refusal, (self.forbidden, "Origin not allowed: http://evil.example"))

    def test_an_own_origin_with_a_port(self) -> None:
        request = self.handshake(Host="localhost:3000", Origin="http://localhost:3000")
        self.assertEqual(self.answer(request)[0], 101)

    def test_a_bug_of_ours_tells_nothing(self) -> None:
        def broken(origin: str) -> bool:
            raise RuntimeError("secret")

        protocol, wire = self.bare(broken)
        protocol.dataReceived(self.handshake(Origin="http://x"))
        self.assertEqual((protocol.refusal.status, wire.value()), (500, b""))
        self.assertNotIn(b"secret", protocol.refusal.body)


class Violations(Endpoint):
    """Each ends with a Close frame that has its code, and nothing is read after it."""

    def broken_by(self, data: bytes, code: int) -> None:
        self.setUp()
        self.assertEqual(self.ended(ASK + data + ASK), [ANSWER, ("close", code)])
        self.assertTrue(self.wire.half_closed)
        self.assertEqual(self.say(ASK, close(1000)), [])
        self.assertFalse(self.wire.aborted)
        self.clock.pump([1.0] * 5)
        self.assertTrue(self.wire.aborted)

    def test_others_have_their_turn_behind_thousands_of_frames(self) -> None:
        """So many are read as there is time for, and the rest in later turns (docs/guarantees.md#g9-isolation)."""
        turn = ManualTurn(step=TURN_BUDGET / 10)  # each frame takes a tenth of it
        assert self.protocol.connection is not None
        self.protocol.connection.turns = make_turns(self.clock, turn)
        self.protocol.dataReceived(frame(PING, b"") * 100)
        pongs = [len(self.wire.take()) // 2]
        self.assertFalse(self.wire.reading)
        while not self.wire.reading:
            turn.end()
            run_one_turn(self.clock)
            pongs.append(len(self.wire.take()) // 2)
        self.assertEqual(sum(pongs), 100)
        self.assertLessEqual(max(pongs), 10)
        self.assertTrue(self.wire.reading)

    def test_protocol_errors(self) -> None:
        for data in (
            frame(TEXT, b"{}", mask=False),
            frame(TEXT, b"{}", rsv=1),
            frame(TEXT, b"{}", rsv=4),
            frame(3),
            frame(11),
            frame(CONTINUATION, b"{}"),
            frame(TEXT, b"{", fin=False) + frame(TEXT, b"}"),
            frame(PING, fin=False),
            frame(PING, b"x" * 126),
            b"\x81\xfe\x00\x05" + MASK + b"x" * 5,  # a length in more bytes than it needs
            b"\x81\xff" + (5).to_bytes(8, "big") + MASK,
            b"\x81\xff\xff" + b"\0" * 7 + MASK,
        ):
            self.broken_by(data, 1002)

    def test_a_malformed_close(self) -> None:
        """Autobahn drops the connection without a Close frame."""
        for payload in (b"\x03", b"\x03\xe8" + b"x" * 124):
            self.broken_by(frame(CLOSE, payload), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
            self.broken_by(close(code), 1002)

    def test_a_reason_that_is_not_utf8(self) -> None:
        self.broken_by(frame(CLOSE, b"\x03\xe8\xff"), 1007)

    def test_text_that_is_not_utf8(self) -> None:
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"{}\xe4\xb8"):
            self.broken_by(frame(TEXT, bad), 1007)

    def test_bad_utf8_is_told_as_soon_as_it_is_seen(self) -> None:
        self.assertEqual(self.ended(frame(TEXT, b"\xf4\x90" + b"x" * 50)[:-40]), [("close", 1007)])

    def check_that_frames_answer(self, data: bytes, cuts: list[int]) -> None:
        self.setUp()
        other, wire = self.connect()
        for piece in pieces(data, cuts):
            self.protocol.dataReceived(piece)
        found = frames(self.wire.take())
        self.assertNotIn(CLOSE, [said.opcode for said in found[:-1]])
        other.dataReceived(ASK)
        self.assertEqual(spoken(wire.take()), [ANSWER])

    def test_a_character_may_be_cut_by_a_frame(self) -> None:
        self.assertEqual(
            self.say(
                frame(TEXT, b'{"type": "ping", "x": "\xe4', fin=False) + frame(CONTINUATION, b'\xb8\xad"}')
            ),
            [ANSWER],
        )


class Closings(Endpoint):
    def test_the_code_and_reason_of_the_peer_are_echoed(self) -> None:
        """Autobahn answers every code with 1000."""
        for code in (1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999):
            self.setUp()
            self.assertEqual(
                self.say(ASK + close(code, "caf\u00e9") + ASK), [ANSWER, ("close", code, "caf\u00e9")]
            )
            self.assertTrue(self.wire.disconnecting)

    def test_a_close_without_a_code_is_answered_likewise(self) -> None:
        self.assertEqual(self.say(frame(CLOSE)), [("close", None, "")])

    def test_the_longest_reason(self) -> None:
        self.assertEqual(self.say(close(1000, "x" * 123)), [("close", 1000, "x" * 123)])

    def test_a_close_waits_for_what_was_said_before(self) -> None:
        self.house.authenticator.slow = True
        self.assertEqual(self.say(self.auth + close(1000)), [])
        self.house.authenticator.release_one()
        found = frames(self.wire.take())
        self.assertEqual([f.opcode for f in found], [TEXT, CLOSE])

    def test_a_shutdown_while_a_close_waits(self) -> None:
        self.house.authenticator.slow = True
        self.say(self.auth + close(1000))
        self.house.hub.stopService()
        self.assertEqual(self.ended(), [("close", 1001)])
        self.assertTrue(self.wire.disconnecting)

    def behind_others(self) -> ManualTurn:
        """Others have used up the turn in which what comes now would be read."""
        turn = ManualTurn()
        assert self.protocol.connection is not None
        self.protocol.connection.turns = make_turns(self.clock, turn)
        turn.seconds += TURN_BUDGET
        return turn

    def test_the_answer_to_our_close_is_read_in_its_turn(self) -> None:
        """And not never: the client would take itself for connected until it is cut off."""
        turn = self.behind_others()
        self.protocol.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(self.ended(close(1001)), [("close", 1001)])
        self.assertFalse(self.wire.disconnecting)
        turn.end()
        run_one_turn(self.clock)
        self.assertTrue(self.wire.disconnecting)

    def test_our_close_while_that_of_the_peer_waits_for_its_turn(self) -> None:
        turn = self.behind_others()
        self.assertEqual(self.say(ASK + close(1000)), [])
        self.protocol.connection.close(CloseReason.SHUTDOWN)
        self.assertEqual(self.ended(), [("close", 1001)])
        turn.end()
        run_one_turn(self.clock)
        self.assertEqual((self.ended(), self.wire.disconnecting), ([], True))

    def test_one_that_is_lost_before_its_turn_is_not_read_any_more(self) -> None:
        turn = self.behind_others()
        self.protocol.connection.close(CloseReason.SHUTDOWN)
        self.say(close(1001))
        self.assertFalse(self.wire.reading)
        self.protocol.connectionLost(Failure(ConnectionLost()))
        turn.end()
        run_one_turn(self.clock)
        self.assertFalse(self.wire.reading)

    def test_a_close_in_the_middle_of_a_message(self) -> None:
        self.assertEqual(self.say(frame(BINARY, b"{", fin=False) + close(1000)), [("close", 1000, "")])


class Sizes(Endpoint):
    def full(self, more: int = 0) -> bytes:
        """A message of all bytes that are allowed, and some more."""
        return b'{"type": "ping"}'.ljust(self.max_message + more)

    def test_a_message_at_the_limit_and_one_past_it(self) -> None:
        """The predecessor's fault: the message size was configured but never read.

        docs/predecessor-faults.md#fault-6
        """
        self.say(self.auth)
        self.assertEqual(self.say(frame(TEXT, self.full())), [ANSWER])
        self.assertEqual(self.ended(frame(TEXT, self.full(1))), [("close", 1009)])

    def test_a_fragmented_message_past_the_limit(self) -> None:
        self.say(self.auth)
        self.assertEqual(self.say(frame(TEXT, self.full(-50), fin=False)), [])
        self.assertEqual(self.ended(frame(CONTINUATION, b" " * 51)), [("close", 1009)])

    def test_before_authentication_it_may_be_small_only(self) -> None:
        """docs/common.md#before-authentication"""
        limit = min(self.max_message, 16 * 1024)
        self.assertEqual(self.say(frame(TEXT, b'{"type": "ping"}'.ljust(limit))), [ANSWER])
        self.assertEqual(self.ended(frame(TEXT, b'{"type": "ping"}'.ljust(limit + 1))), [("close", 1009)])

    def test_a_login_that_fails_leaves_it_so(self) -> None:
        self.house.authenticator.slow = True
        self.say(self.auth)
        self.house.authenticator.pending[0][1].errback(Unauthorized("no"))
        self.assertEqual(
            self.ended(frame(TEXT, b" " * (min(self.max_message, 16 * 1024) + 1)))[-1][0], "close"
        )

    def test_an_oversize_message_is_refused_by_its_header(self) -> None:
        self.assertEqual(self.ended(frame(TEXT, b" " * (self.max_message + 70_000))[:14]), [("close", 1009)])
        self.assertEqual(self.say(ASK * 10), [])


class Deflated(Endpoint):
    extensions = "permessage-deflate; client_max_window_bits"

    def deflate(self, data: bytes, level: int = 9) -> bytes:
        squeezer = zlib.compressobj(level, zlib.DEFLATED, -15)
        return (squeezer.compress(data) + squeezer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def test_compressed_messages_are_read_however_they_are_cut(self) -> None:
        data = self.deflate(b'{"type": "ping"}')
        whole = frame(TEXT, data, rsv=4)
        cut = frame(TEXT, data[:3], rsv=4, fin=False) + frame(PING) + frame(CONTINUATION, data[3:])
        self.assertEqual(self.say(whole, ASK, cut), [ANSWER, ANSWER, "pong ", ANSWER])
        self.assertEqual(self.say(*(bytes([byte]) for byte in cut)), ["pong ", ANSWER])

    def test_what_many_are_told_is_compressed_once(self) -> None:
        framed = server_frame(b"x" * 1000)
        other, wire = self.connect()
        other.factory = self.protocol.factory
        for protocol in (self.protocol, other):
            protocol.write_frame(framed)
        first, second = self.wire.take(), wire.take()
        self.assertEqual(first, second)
        self.assertLess(len(first), 100)
        self.assertIs(self.protocol.factory._last_compressed[0], framed)
        self.protocol.write_frame(server_frame(b"y" * 1000))
        self.assertNotEqual(self.wire.take(), first)

    def test_the_limit_holds_for_what_comes_out(self) -> None:
        self.say(self.auth)
        exact = b'{"type": "ping"}'.ljust(self.max_message)
        self.assertEqual(self.say(frame(TEXT, self.deflate(exact), rsv=4)), [ANSWER])
        self.assertEqual(self.ended(frame(TEXT, self.deflate(exact + b" "), rsv=4)), [("close", 1009)])

    def test_the_limit_does_not_hold_for_what_went_in(self) -> None:
        """Data that does not compress may be longer on the wire than inflated."""
        self.say(self.auth)
        stored = self.deflate(b'{"type": "ping"}'.ljust(self.max_message), level=0)
        self.assertGreater(len(stored), self.max_message)
        self.assertEqual(self.say(*pieces(frame(TEXT, stored, rsv=4), list(range(1, 100)))), [ANSWER])

    def test_before_authentication_it_holds_for_what_comes_out(self) -> None:
        limit = min(self.max_message, 16 * 1024)
        exact = b'{"type": "ping"}'.ljust(limit)
        self.assertEqual(self.say(frame(TEXT, self.deflate(exact), rsv=4)), [ANSWER])
        self.assertEqual(self.ended(frame(TEXT, self.deflate(exact + b" "), rsv=4)), [("close", 1009)])

    def test_a_final_block_does_not_end_what_can_be_read(self) -> None:
        """RFC 7692, 7.2.3.4.  Autobahn's own reads every later message as empty, and keeps its bytes."""
        squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
        final = squeezer.compress(b'{"type": "ping"}') + squeezer.flush(zlib.Z_FINISH) + b"\0"
        said = self.say(
            *[frame(TEXT, final, rsv=4), frame(TEXT, self.deflate(b'{"type": "ping"}'), rsv=4)] * 3
        )
        self.assertEqual(said, [ANSWER] * 6)

    def test_a_bomb_is_not_unpacked(self) -> None:
        bomb = frame(TEXT, self.deflate(b" " * 50_000_000), rsv=4)
        self.assertLess(len(bomb), 60_000)
        self.assertEqual(self.ended(*pieces(bomb, list(range(0, len(bomb), 1000)))), [("close", 1009)])

    def test_what_is_not_deflated_is_bad_data(self) -> None:
        self.assertEqual(self.ended(frame(TEXT, b"\xff" * 20, rsv=4)), [("close", 1007)])

    def test_a_compressed_control_frame_breaks_the_protocol(self) -> None:
        self.assertEqual(self.ended(frame(PING, rsv=4)), [("close", 1002)])


class EventsTests(Handshakes, Violations, Closings, Sizes, Events, SynchronousTestCase):
    """/ws keeps the rules."""

    @given(noise, places)
    def test_any_frames_at_all_are_answered_in_frames(self, data: bytes, cuts: list[int]) -> None:
        """Bad input ends at most its own connection, and with a word."""
        self.check_that_frames_answer(data, cuts)


class OperationsTests(Handshakes, Violations, Closings, Sizes, Operations, SynchronousTestCase):
    """And so does /graphql."""

    @given(noise, places)
    def test_any_frames_at_all_are_answered_in_frames(self, data: bytes, cuts: list[int]) -> None:
        """Bad input ends at most its own connection, and with a word."""
        self.check_that_frames_answer(data, cuts)


class EventsDeflateTests(Deflated, Events, SynchronousTestCase):
    """/ws under permessage-deflate."""


class OperationsDeflateTests(Deflated, Operations, SynchronousTestCase):
    """/graphql under permessage-deflate."""


class ClientTests(TestCase):
    """The same over Autobahn's own client, in memory."""

    async def test_a_dialogue(self) -> None:
        reactor = MemoryReactorClock()
        rooms = make_core(reactor)
        factory = WebSocketFactory(
            rooms.hub, rooms.admission("websocket"), reactor, reactor.seconds, lambda origin: False
        )
        pumper = create_pumper()
        pumper.start()
        self.addCleanup(pumper.stop)
        agent = create_memory_agent(reactor, pumper, lambda: factory.buildProtocol(None))
        client = await agent.open("ws://localhost/ws", {}, WebSocketClientProtocol)
        heard: list[str] = []
        client.on("message", lambda payload, is_binary: heard.append(json.loads(payload)["type"]))
        client.sendMessage(b'{"type": "auth", "token": "token-ann"}')
        client.sendMessage(b'{"type": "subscribe", "topic": "plant.*"}')
        client.sendMessage(b'{"type": "message", "topic": "plant.7", "data": 21}')
        pumper._flush()
        self.assertEqual(heard, ["auth_success", "subscribed", "message"])
        client.sendClose(3000, "bye")
        await client.is_closed
        self.assertEqual(client.remoteCloseCode, 3000)
