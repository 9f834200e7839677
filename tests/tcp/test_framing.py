"""Frames cut out of a stream and decoded in one step: whatever bytes arrive, in whatever pieces, the same dialogue."""

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
from tests.examples import examples

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


def dialogue(chunks: list[bytes], slow: bool = False) -> tuple[Said, bool, bool, int]:
    """What was sent, whether the connection ended, whether the peer is still read, and how many bytes were counted."""
    clock = Clock()
    rooms = make_core(clock)
    line = rooms.admission("tcp")
    device, wire = TcpFactory(rooms.hub, line, clock.seconds, MAX_FRAME).buildProtocol(None), Wire()
    device.makeConnection(wire)
    rooms.authenticator.slow = slow
    for chunk in chunks:
        device.dataReceived(chunk)
    while rooms.authenticator.pending:
        rooms.authenticator.release_one()
    clock.advance(0)
    return wire.said(), wire.half_closed, wire.reading, line.stats.bytes_received


class FramingTests(SynchronousTestCase):
    @given(speeches, st.lists(st.integers(min_value=0), max_size=12), st.booleans())
    @settings(max_examples=examples(150), deadline=None)
    def test_the_same_dialogue(self, speech: bytes, cuts: list[int], slow: bool) -> None:
        speech = AUTH + STREAM + speech
        whole, cut, bytewise = [speech], pieces(speech, cuts), [bytes([byte]) for byte in speech]
        self.assertEqual(dialogue(cut, slow), dialogue(bytewise, slow))
        self.assertEqual(dialogue(whole, slow), dialogue(bytewise, slow))

    def test_nothing_is_read_behind_a_bad_length(self) -> None:
        for bad in BAD:
            said, ended, _, _ = dialogue([AUTH + STREAM + frame(0x30) + bad + frame(0x30) * 3])
            self.assertEqual(([type_ for type_, _ in said], ended), ([0x02, 0x12, 0x31, 0xFF], True), bad)

    def test_a_bad_length_behind_a_pause(self) -> None:
        """What waited while the peer was not read is checked once it is."""
        for bad in BAD:
            said, ended, _, _ = dialogue(
                [AUTH + frame(0x30) * 63 + frame(0x31) + bad + frame(0x30)], slow=True
            )
            types = [0x02] + [0x31] * 63 + [0xFF]
            self.assertEqual(([type_ for type_, _ in said], ended), (types, True), bad)

    def test_no_more_is_read_than_may_wait(self) -> None:
        rooms = make_core(Clock())
        device = TcpFactory(rooms.hub, rooms.admission(), rooms.clock.seconds).buildProtocol(None)
        device.makeConnection(Wire())
        device.dataReceived(AUTH)
        rooms.authenticator.slow = True
        device.dataReceived(AUTH + frame(0x30) * 90)
        assert device.connection is not None
        self.assertEqual(len(device.connection._command_queue._queue), ConnectionLimits().max_queued_commands)

    def test_what_arrives_behind_the_end_is_not_kept(self) -> None:
        rooms = make_core(Clock())
        line = rooms.admission("tcp", ConnectionLimits(max_queued_replies=1))
        device, wire = TcpFactory(rooms.hub, line, rooms.clock.seconds).buildProtocol(None), Wire()
        device.makeConnection(wire)
        device.dataReceived(AUTH + STREAM)
        wire.producer.pauseProducing()
        device.dataReceived(frame(0x20, topic="a.b", content=1) * 3 + raw(b"x" * 100)[:-1])
        self.assertEqual((wire.half_closed, device._buffer), (True, b""))

    def test_a_usual_publication_is_decoded_in_one_step(self) -> None:
        for text in (b'{"topic":"a","content":{"b":[1]},"id":1}', b'{"topic":"a"}'):
            self.assertIsNotNone(codec._PUBLISH_DECODER.decode(text))

    def test_each_odd_text(self) -> None:
        for text in ODD("content"):
            body = b"\x20" + text
            self.assertEqual(codec.decode(body), codec._decode_by_field(body), text)

    @given(messages("content"))
    @settings(max_examples=examples(600), deadline=None)
    def test_the_same_command(self, text: bytes) -> None:
        command, by_field = codec.decode(b"\x20" + text), codec._decode_by_field(b"\x20" + text)
        self.assertEqual(command, by_field)
        if isinstance(by_field, Publish):
            self.assertEqual(repr(command.ref), repr(by_field.ref))  # 1 is not 1.0
            self.assertEqual(json.dumps(command.content), json.dumps(by_field.content))  # type: ignore[union-attr]

    def test_all_that_is_whole_is_cut_out(self) -> None:
        bodies: list[bytes] = []

        def on_frame(body: bytes) -> bool:
            bodies.append(body)
            return len(bodies) != 2

        data = raw(b"1") + raw(b"22") + raw(b"3") + raw(b"4444")[:-1]
        at = parse_frames(data, 4, on_frame)
        self.assertEqual((bodies, at), ([b"1", b"22"], 11))
        self.assertEqual((parse_frames(data[at:], 4, on_frame), bodies[2:]), (5, [b"3"]))
        self.assertEqual(parse_frames(raw(b"55555"), 4, on_frame), 0)
        self.assertEqual(parse_frames(raw(b""), 4, on_frame), 0)

    def test_only_what_makes_a_frame_is_joined(self) -> None:
        kept = bytearray(raw(b"12345")[:6])
        self.assertEqual([completes_frame(kept, b"x" * n, 9) for n in (2, 3)], [False, True])
        self.assertTrue(completes_frame(kept, b"", 4))  # a length that is refused at once
        self.assertTrue(completes_frame(bytearray(b"\0\0"), b"", 9))
