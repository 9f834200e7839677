"""The decoder of chunked bodies: the same body in however many calls, and so many steps in each."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.http.chunked import MAX_STEPS, ChunkedDecoder

STEPS_PER_CHUNK = 3  # its size, its data and its line end
LAST_STEPS = 2  # the size of the last chunk, and the line that ends the trailers


class StepTests(SynchronousTestCase):
    def decoded(self, chunks: int, trailers: int) -> tuple[ChunkedDecoder, bytearray, int]:
        """The decoder, what it left in the buffer, and how often it was called, for so many chunks of one byte."""
        buffer = bytearray(b"1\r\nx\r\n" * chunks + b"0\r\n" + b"A: b\r\n" * trailers + b"\r\nbehind")
        decoder, calls = ChunkedDecoder(chunks), 1
        while not decoder.decode(buffer):
            self.assertTrue(decoder.is_interrupted)
            calls += 1
        return decoder, buffer, calls

    def test_as_many_steps_as_one_call_may_take_and_one_more(self) -> None:
        chunks = (MAX_STEPS - LAST_STEPS) // STEPS_PER_CHUNK
        fitting = MAX_STEPS - LAST_STEPS - chunks * STEPS_PER_CHUNK  # as trailers
        for trailers, expected_calls in ((fitting, 1), (fitting + 1, 2)):
            decoder, buffer, calls = self.decoded(chunks, trailers)
            self.assertEqual((calls, decoder.is_interrupted), (expected_calls, False))
            self.assertEqual((bytes(decoder.body), bytes(buffer)), (b"x" * chunks, b"behind"))

    def test_many_calls(self) -> None:
        decoder, buffer, calls = self.decoded(10 * MAX_STEPS, 0)
        self.assertEqual((len(decoder.body), bytes(buffer), calls), (10 * MAX_STEPS, b"behind", 31))

    def test_one_that_waits_for_more_is_not_interrupted(self) -> None:
        for part in (b"", b"1", b"1\r\n", b"1\r\nx", b"1\r\nx\r\n", b"0\r\n"):
            decoder, buffer = ChunkedDecoder(1), bytearray(part)
            self.assertEqual((decoder.decode(buffer), decoder.is_interrupted), (False, False))
