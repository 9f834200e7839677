"""The short ways of `chunk` and `quick` against the plain ones: whatever comes, in whatever pieces, the same dialogue."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.connections.admission import ConnectionLimits
from multiproto.core.protocol import Publish
from multiproto.tcp import codec
from multiproto.tcp.codec import completes_frame, parse_frames
from multiproto.tcp.protocol import TcpFactory

from ..fakes import make_core
from ..messages import ODD, messages
from .wire import Said, Wire, frame, pieces, raw

MAX_FRAME = 200
AUTH = frame(0x01, token="token-ann")
STREAM = frame(0x10, topic="a.*")
BAD = (raw(b""), b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big"))

commands = (
    messages("content").map(lambda text: raw(b"\x20" + text))
    | st.sampled_from([AUTH, STREAM, frame(0x11, topic="a.*"), frame(0x30), frame(0x31), raw(b"\x7f")])
    | st.binary(min_size=1, max_size=20).map(raw)
)
speeches = st.tuples(
    st.lists(commands, max_size=12).map(b"".join), st.sampled_from(BAD) | st.binary(max_size=6)
).map(b"".join)


def dialogue(speech: list[bytes], fast: bool, slow: bool) -> tuple[Said, bool, bool, int]:
    """What was said, whether it ended, whether the peer is still read, and how many bytes were counted."""
    clock = Clock()
    rooms = make_core(clock)
    line = rooms.admission("tcp")
    device, wire = (
        TcpFactory(rooms.hub, line, clock.seconds, MAX_FRAME, fast=fast).buildProtocol(None),
        Wire(),
    )
    device.makeConnection(wire)
    rooms.authenticator.slow = slow
    for piece in speech:
        device.dataReceived(piece)
    while rooms.authenticator.pending:
        rooms.authenticator.release_one()
    clock.advance(0)
    return wire.said(), wire.half_closed, wire.reading, line.stats.bytes_received


class FastTests(SynchronousTestCase):
    @given(speeches, st.lists(st.integers(min_value=0), max_size=12), st.booleans())
    @settings(max_examples=150, deadline=None)
    def test_the_same_dialogue(self, speech: bytes, cuts: list[int], slow: bool) -> None:
        speech = AUTH + STREAM + speech
        cut = pieces(speech, cuts)
        self.assertEqual(dialogue(cut, True, slow), dialogue(cut, False, slow))

    def test_nothing_is_taken_behind_a_bad_length(self) -> None:
        for bad in BAD:
            speech = [AUTH + STREAM + frame(0x30) + bad + frame(0x30) * 3]
            self.assertEqual(dialogue(speech, True, False), dialogue(speech, False, False))

    def test_no_more_is_taken_than_may_wait(self) -> None:
        for fast in (True, False):
            rooms = make_core(Clock())
            rooms.authenticator.slow = True
            device = TcpFactory(rooms.hub, rooms.admission(), rooms.clock.seconds, fast=fast).buildProtocol(
                None
            )
            device.makeConnection(Wire())
            device.dataReceived(AUTH + frame(0x30) * 90)
            assert device.connection is not None
            self.assertEqual(
                len(device.connection._command_queue._queue), ConnectionLimits().max_queued_commands, fast
            )

    def test_what_comes_behind_the_end_is_not_kept(self) -> None:
        rooms = make_core(Clock())
        line = rooms.admission("tcp", ConnectionLimits(max_queued_replies=1))
        device, wire = TcpFactory(rooms.hub, line, rooms.clock.seconds).buildProtocol(None), Wire()
        device.makeConnection(wire)
        device.dataReceived(AUTH + STREAM)
        wire.producer.pauseProducing()
        device.dataReceived(frame(0x20, topic="a.b", content=1) * 3 + raw(b"x" * 100)[:-1])
        self.assertEqual((wire.half_closed, device._buffer), (True, b""))

    def test_the_usual_takes_the_short_way(self) -> None:
        for said in (b'{"topic":"a","content":{"b":[1]},"id":1}', b'{"topic":"a"}'):
            self.assertIsNotNone(codec._PUBLISH_DECODER.decode(said))

    def test_each_odd_text(self) -> None:
        for text in ODD("content"):
            body = b"\x20" + text
            self.assertEqual(codec.decode_fast(body), codec.decode(body), text)

    @given(messages("content"))
    @settings(max_examples=600, deadline=None)
    def test_the_same_command(self, text: bytes) -> None:
        said, plain = codec.decode_fast(b"\x20" + text), codec.decode(b"\x20" + text)
        self.assertEqual(said, plain)
        if isinstance(plain, Publish):
            self.assertEqual(repr(said.ref), repr(plain.ref))  # 1 is not 1.0
            self.assertEqual(json.dumps(said.content), json.dumps(plain.content))  # type: ignore[union-attr]

    def test_all_that_is_whole_is_taken(self) -> None:
        heard: list[bytes] = []

        def hear(body: bytes) -> bool:
            heard.append(body)
            return len(heard) != 2

        data = raw(b"1") + raw(b"22") + raw(b"3") + raw(b"4444")[:-1]
        at = parse_frames(data, 4, hear)
        self.assertEqual((heard, at), ([b"1", b"22"], 11))
        self.assertEqual((parse_frames(data[at:], 4, hear), heard[2:]), (5, [b"3"]))
        self.assertEqual(parse_frames(raw(b"55555"), 4, hear), 0)
        self.assertEqual(parse_frames(raw(b""), 4, hear), 0)

    def test_only_what_makes_a_frame_is_joined(self) -> None:
        kept = bytearray(raw(b"12345")[:6])
        self.assertEqual([completes_frame(kept, b"x" * n) for n in (2, 3)], [False, True])
        self.assertTrue(completes_frame(bytearray(b"\0\0"), b""))
