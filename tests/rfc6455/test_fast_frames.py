"""Fast parsing of frames against Autobahn's own: whatever arrives, in whatever pieces, the same dialogue."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.protocol import Publish
from multiproto.rfc6455.fast_frames import MAX_INTEGER_XOR, parse_frames, unmask
from multiproto.websocket import codec
from multiproto.websocket.protocol import WebSocketEchoProtocol, WebSocketFactory, WebSocketProtocol
from tests.examples import examples

from ..fakes import make_core
from ..messages import ODD, messages
from .wire import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    Wire,
    close,
    frame,
    handshake,
    pieces,
    text,
)

AUTH = text(type="auth", token="token-ann")
SUBSCRIBE = text(type="subscribe", topic="a.*")
DEFLATE = "permessage-deflate; client_no_context_takeover"
MAX_MESSAGE = 300

payloads = (
    messages("data", type='"message"')
    | st.binary(max_size=130)
    | st.sampled_from(
        [b'{"type":"ping"}', "é€😀".encode(), "é€😀".encode()[:-1], b"\xed\xa0\x80", b"\xf5\x80\x80\x80"]
    )
    | st.sampled_from([0, 124, 125, 126, 127, MAX_MESSAGE, MAX_MESSAGE + 1, 65_535, 65_536]).map(
        lambda size: b"x" * size
    )
)
likely = st.builds(frame, st.sampled_from([TEXT, TEXT, TEXT, BINARY]), payloads)
frames = (
    likely
    | st.builds(
        frame,
        st.sampled_from([TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG, 3, 11]),
        payloads,
        st.booleans(),
        st.sampled_from([0, 0, 4, 1]),
        st.sampled_from([True, True, False]),
    )
    | st.sampled_from(
        [
            close(1000),
            frame(PING, b"x"),
            SUBSCRIBE,
            frame(CLOSE),
            b"\x81\xfe\0\x05abcd12345",
            b"\x81\xff" + bytes(8),
        ]
    )
    | st.binary(max_size=10)
)
speeches = st.lists(likely, max_size=6).map(b"".join) | st.lists(frames, max_size=8).map(b"".join)


class StockFrames:
    """A mixin that leaves all frames to Autobahn."""

    def _read_fast_frames(self, max_frames: int) -> int:
        return 0


class StockProtocol(StockFrames, WebSocketProtocol):
    """To compare with."""


class StockEchoProtocol(StockFrames, WebSocketEchoProtocol):
    """To compare with."""


def dialogue(
    speech: list[bytes], kind: type[WebSocketProtocol], slow: bool = False, extensions: str | None = None
) -> tuple[object, ...]:
    """What was sent, and how it ended."""
    clock = Clock()
    rooms = make_core(clock)
    line = rooms.admission("websocket")
    factory = WebSocketFactory(
        rooms.hub, line, clock, clock.seconds, lambda origin: False, MAX_MESSAGE, protocol_class=kind
    )
    protocol, wire = factory.buildProtocol(None), Wire()
    protocol.makeConnection(wire)
    protocol.dataReceived(handshake(Sec_WebSocket_Extensions=extensions))
    rooms.authenticator.slow = slow
    for piece in speech:
        protocol.dataReceived(piece)
    while rooms.authenticator.pending:
        rooms.authenticator.release_one()
    clock.pump([0] * 60)
    ended = protocol.connection.farewell if protocol.connection is not None else None
    return wire.take(), ended, wire.half_closed, wire.disconnecting, wire.reading, line.stats.received_by_type


class FastFramesTests(SynchronousTestCase):
    @given(speeches, st.lists(st.integers(min_value=0), max_size=8), st.booleans(), st.booleans())
    @settings(max_examples=examples(150), deadline=None)
    def test_the_same_dialogue(self, speech: bytes, cuts: list[int], slow: bool, deflate: bool) -> None:
        cut = pieces(AUTH + SUBSCRIBE + speech, cuts)
        extensions = DEFLATE if deflate else None
        self.assertEqual(
            dialogue(cut, WebSocketProtocol, slow, extensions),
            dialogue(cut, StockProtocol, slow, extensions),
        )

    @given(speeches, st.lists(st.integers(min_value=0), max_size=8))
    @settings(max_examples=examples(100), deadline=None)
    def test_the_same_echo(self, speech: bytes, cuts: list[int]) -> None:
        cut = pieces(speech, cuts)
        self.assertEqual(dialogue(cut, WebSocketEchoProtocol), dialogue(cut, StockEchoProtocol))

    def test_what_comes_within_a_message(self) -> None:
        """A new message within a fragmented one is an error, a control frame is none."""
        begun, end = frame(TEXT, b'{"type":', fin=False), frame(CONTINUATION, b'"ping"}')
        for between in (
            b"",
            frame(TEXT, b"{}"),
            frame(BINARY, b"{}"),
            frame(PING, b"x"),
            frame(CONTINUATION, b"", fin=False),
        ):
            speech = AUTH + begun + between + end + text(type="ping")
            for cut in range(len(speech)):
                cuts = [speech[:cut], speech[cut:]]
                fast, stock = dialogue(cuts, WebSocketProtocol), dialogue(cuts, StockProtocol)
                self.assertEqual(fast, stock, (between, cut))

    def test_no_more_is_taken_than_may_wait(self) -> None:
        for kind in (WebSocketProtocol, StockProtocol):
            rooms = make_core(Clock())
            factory = WebSocketFactory(
                rooms.hub,
                rooms.admission(),
                rooms.clock,
                rooms.clock.seconds,
                lambda origin: False,
                protocol_class=kind,
            )
            protocol, wire = factory.buildProtocol(None), Wire()
            protocol.makeConnection(wire)
            protocol.dataReceived(handshake() + AUTH)
            rooms.authenticator.slow = True
            protocol.dataReceived(AUTH + text(type="ping") * 90)
            assert protocol.connection is not None
            self.assertEqual(
                (len(protocol.connection._command_queue._queue), wire.reading),
                (ConnectionLimits().max_queued_commands, False),
                kind,
            )

    def test_a_usual_publication_is_decoded_in_one_step(self) -> None:
        for said in (
            b'{"type":"message","topic":"a","data":{"b":[1]},"id":1}',
            b'{"topic":"a","type":"message","data":null}',
        ):
            self.assertIsNotNone(codec._PUBLISH_DECODER.decode(said))

    def test_thousands_in_one_packet(self) -> None:
        speech = AUTH + text(type="ping") * 2000
        self.assertEqual(
            dialogue([speech], WebSocketProtocol, slow=True), dialogue([speech], StockProtocol, slow=True)
        )

    def test_each_odd_text(self) -> None:
        for said in ODD("data", type="message"):
            self.assertEqual(codec.decode(said), codec._decode_by_field(said), said[:100])

    @given(messages("data", type='"message"') | messages("data"))
    @settings(max_examples=examples(600), deadline=None)
    def test_the_same_command(self, said: bytes) -> None:
        command, by_field = codec.decode(said), codec._decode_by_field(said)
        self.assertEqual(command, by_field)
        if isinstance(by_field, Publish):
            self.assertEqual(repr(command.ref), repr(by_field.ref))  # 1 is not 1.0
            self.assertEqual(json.dumps(command.content), json.dumps(by_field.content))  # type: ignore[union-attr]

    def test_unmasking(self) -> None:
        for size in (0, 1, 3, 4, MAX_INTEGER_XOR, MAX_INTEGER_XOR + 1, 65_535):
            payload = bytes(n % 251 for n in range(size))
            self.assertEqual(unmask(MASK, frame(BINARY, payload)[-size:] if size else b""), payload)

    def test_only_plain_frames_are_taken(self) -> None:
        heard: list[tuple[bytes, bool]] = []

        def hear(payload: bytes, is_binary: bool) -> bool:
            heard.append((payload, is_binary))
            return True

        plain = frame(TEXT, b"a") + frame(BINARY, b"\xff") + frame(TEXT, b"b" * 200)
        self.assertEqual(parse_frames(plain + frame(PING), 200, 9, hear), (len(plain), 3))
        self.assertEqual(heard, [(b"a", False), (b"\xff", True), (b"b" * 200, False)])
        self.assertEqual(parse_frames(plain, 200, 2, hear), (len(frame(TEXT, b"a") * 2), 2))
        for other in (
            frame(TEXT, b"a", fin=False),
            frame(TEXT, b"a", rsv=4),
            frame(TEXT, b"a", mask=False),
            frame(TEXT, b"\xff"),
            frame(TEXT, b"a" * 201),
            frame(TEXT, b"a" * 65_536),
            frame(TEXT, b"a" * 130)[:-1],
            b"\x81\xfe\0\x05" + MASK + b"abcde",
            frame(CONTINUATION, b"a"),
        ):
            self.assertEqual(parse_frames(other, 200, 9, hear), (0, 0), other[:10])
