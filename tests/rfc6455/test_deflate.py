"""Compressed messages with final blocks (RFC 7692, 7.2.3.4)."""

from __future__ import annotations

import zlib

from autobahn.exception import PayloadCorruptError, PayloadExceededError
from autobahn.websocket.compress import PerMessageDeflate
from twisted.trial.unittest import SynchronousTestCase

from multiproto.rfc6455.deflate import MAX_FINAL_BLOCKS, FinalBlockDeflate

HELLO_FINAL = bytes.fromhex("f348cdc9c90700")  # the RFC's example, before the empty block
LIMIT = 1000


def compressed(data: bytes, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush(flush)


def message(data: bytes) -> bytes:
    """As clients send it: without the empty block's last four bytes."""
    return compressed(data)[:-4]


class DeflateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.deflate = FinalBlockDeflate.of(PerMessageDeflate(True, True, False, 12, 15, 5))

    def read(self, *frames: bytes, limit: int = LIMIT) -> bytes:
        """The message in these frames."""
        self.deflate.start_decompress_message()
        read = b""
        for frame in frames:
            read += self.deflate.decompress_message_data(frame, limit - len(read))
        self.deflate.end_decompress_message()
        return read

    def test_a_final_block(self) -> None:
        for _ in range(3):
            self.assertEqual(self.read(HELLO_FINAL + b"\0"), b"Hello")
            self.assertEqual(self.read(message(b"one")), b"one")

    def test_in_any_pieces(self) -> None:
        data = HELLO_FINAL + b"\0"
        for cut in range(len(data) + 1):
            self.assertEqual(self.read(data[:cut], data[cut:]), b"Hello")
        self.assertEqual(self.read(*(bytes([byte]) for byte in data)), b"Hello")

    def test_nothing_is_kept_of_what_follows(self) -> None:
        self.read(HELLO_FINAL + b"\0")
        for _ in range(3):
            self.assertEqual(self.read(message(b"x" * 500)), b"x" * 500)
            self.assertEqual(self.deflate._decompressor.unused_data, b"")

    def test_so_many_in_a_message_and_no_more(self) -> None:
        final = compressed(b"x", zlib.Z_FINISH)
        self.assertEqual(self.read(final * MAX_FINAL_BLOCKS + b"\0"), b"x" * MAX_FINAL_BLOCKS)
        self.assertRaises(PayloadCorruptError, self.read, final * (MAX_FINAL_BLOCKS + 1) + b"\0")

    def test_they_are_bounded_together(self) -> None:
        final = compressed(b"x" * (LIMIT // 2), zlib.Z_FINISH)
        self.assertEqual(len(self.read(final * 2 + b"\0")), LIMIT)
        self.assertRaises(PayloadExceededError, self.read, final * 2 + message(b"x"))

    def test_without_the_empty_block_behind(self) -> None:
        """Which the RFC asks for; but nothing is unclear."""
        self.assertEqual(self.read(HELLO_FINAL), b"Hello")
        self.assertEqual(self.read(message(b"one")), b"one")

    def test_no_deflate_at_all(self) -> None:
        self.assertRaises(PayloadCorruptError, self.read, b"\xff\xff")

    def test_what_came_before_is_remembered_unless_it_was_final(self) -> None:
        """A client that keeps its context refers to earlier messages."""
        deflate = zlib.compressobj(wbits=-15)
        for _ in range(2):
            data = deflate.compress(b"the same words") + deflate.flush(zlib.Z_SYNC_FLUSH)
            self.assertEqual(self.read(data[:-4]), b"the same words")
