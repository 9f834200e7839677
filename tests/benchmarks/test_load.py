"""The generator: what it sends is what was meant, and it sees what is lost or out of order."""

from __future__ import annotations

import shutil
import socket
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from benchmarks import fanout, graphql, http, idle, ingest, wires  # noqa: F401 - they can be imported
from benchmarks.load import STAMP, Frame, Wrong, echo, masked
from benchmarks.load import fanout as publish
from benchmarks.load import http as ask


@frozen
class Nobody:
    """In place of a server: what is written at one end of a pair comes out at the other."""

    name: str = "nobody"

    def cpu(self) -> float:
        return 0.0


SECONDS = 0.01
OF: Any = Nobody()


class FrameTests(SynchronousTestCase):
    def test_a_message_has_a_hundred_bytes_and_a_stamp(self) -> None:
        said = wires.compact(wires.content())
        self.assertEqual((len(said), said.count(STAMP)), (wires.MESSAGE_SIZE, 1))
        self.assertEqual(len(wires.compact(wires.plain_content())), wires.MESSAGE_SIZE)

    def test_masking_twice_gives_the_same(self) -> None:
        self.assertEqual(masked(masked(b"some words", wires.MASK), wires.MASK), b"some words")

    def test_a_websocket_frame_says_its_length(self) -> None:
        self.assertEqual(wires.ws_frame(b"x" * 125).wire[:2], b"\x81\xfd")
        self.assertEqual(wires.ws_frame(b"x" * 126).wire[:4], b"\x81\xfe\x00\x7e")

    def test_the_digits_of_a_masked_stamp_are_masked(self) -> None:
        frame = wires.ws_frame(b"ab" + STAMP)
        native = frame.native()
        digits = frame.wire[native.stamp_at : native.stamp_at + 8]
        self.assertEqual(bytes(each ^ pad for each, pad in zip(digits, native.pad)), b"00000000")

    def test_an_mqtt_packet_says_its_length_in_groups_of_seven_bits(self) -> None:
        self.assertEqual(wires._packet(0x30, b"x" * 127)[:2], b"\x30\x7f")
        self.assertEqual(wires._packet(0x30, b"x" * 128)[:3], b"\x30\x80\x01")


class GeneratorTests(SynchronousTestCase):
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        skip = "no C compiler"

    def setUp(self) -> None:
        self.near, self.far = socket.socketpair()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def test_all_that_is_published_comes_once_and_in_order(self) -> None:
        for window in (1, 16):
            lap = publish(OF, self.near, [self.far], Frame(b"<", STAMP + b">"), window, SECONDS)
            self.assertGreater(lap.done, 0)
            self.assertEqual(self.rest(), b"")

    def test_one_that_nobody_expected_is_wrong(self) -> None:
        self.near.sendall(b"@@00000005")
        with self.assertRaises(Wrong):
            publish(OF, self.near, [self.far], Frame(b"", STAMP), 1, SECONDS)

    def test_a_stamp_may_come_in_two_reads(self) -> None:
        self.near.sendall(b"...@@0000")
        with self.assertRaises(Wrong) as caught:  # joined, and out of order
            publish(OF, self.near, [self.far], Frame(b"", b"0005" + STAMP), 1, SECONDS)
        self.assertIn("out of order", str(caught.exception))

    def test_a_closed_connection_is_wrong(self) -> None:
        self.far.shutdown(socket.SHUT_RDWR)
        with self.assertRaises(Wrong):
            echo(OF, [self.near], Frame(b"", STAMP), SECONDS)

    def test_another_status_or_body_is_wrong(self) -> None:
        right = wires.request("GET", "/", b"alive")
        for answer in (
            b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nalive",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndead",
        ):
            self.far.sendall(answer)
            with self.assertRaises(Wrong):
                ask(OF, [self.near], [right], 0.0)

    def test_answers_with_length_or_in_chunks_are_understood(self) -> None:
        right = wires.request("GET", "/", b"alive")
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nalive\r\n0\r\n\r\n"
        for answer in (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nalive", chunked):
            self.far.sendall(answer)
            self.assertEqual(ask(OF, [self.near], [right], 0.0).done, 1)

    def rest(self) -> bytes:
        """What the far end has not read."""
        try:
            return self.far.recv(100, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""
