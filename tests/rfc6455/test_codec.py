"""Frames of every size, and the room in a Close."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.rfc6455 import codec

from .wire import BINARY, TEXT, Frame, frames


class FrameTests(SynchronousTestCase):
    def test_each_size_of_length(self) -> None:
        for size in (0, 125, 126, 65535, 65536):
            self.check(b"x" * size, TEXT)

    @given(st.binary(), st.sampled_from([TEXT, BINARY]))
    def test_any_payload(self, payload: bytes, opcode: int) -> None:
        self.check(payload, opcode)

    def check(self, payload: bytes, opcode: int) -> None:
        framed = codec.encode_frame(payload, opcode)
        self.assertEqual(frames(framed), [Frame(opcode, payload)])
        self.assertEqual((codec.frame_opcode(framed), codec.frame_payload(framed)), (opcode, payload))

    def test_a_compressed_one_says_so(self) -> None:
        self.assertEqual(frames(codec.encode_frame(b"x", compressed=True)), [Frame(TEXT, b"x", rsv=4)])


class ReasonTests(SynchronousTestCase):
    def test_as_much_as_there_is_room_for(self) -> None:
        self.assertEqual(codec.encode_close_reason("x" * 123), b"x" * 123)
        self.assertEqual(codec.encode_close_reason("x" * 124), b"x" * 123)

    def test_no_character_is_cut(self) -> None:
        self.assertEqual(codec.encode_close_reason("x" * 122 + "\u00e9"), b"x" * 122)
