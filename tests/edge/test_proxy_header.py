"""The PROXY header, byte by byte."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.trial.unittest import SynchronousTestCase

from multiproto.edge.proxy_header import (
    MAX_V1_SIZE,
    MAX_V2_PAYLOAD,
    V2_FIXED_SIZE,
    V2_PREFIX,
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)

V4 = struct.pack("!4s4sHH", bytes([192, 0, 2, 1]), bytes([10, 0, 0, 9]), 40000, 3000)
V6 = struct.pack("!16s16sHH", b"\x20\x01\x0d\xb8" + bytes(11) + b"\1", bytes(15) + b"\1", 40000, 3000)


def v2(command: int, family: int, body: bytes = b"") -> bytes:
    return V2_PREFIX + bytes([command, family]) + len(body).to_bytes(2, "big") + body


def v4(source: str) -> IPv4Address:
    return IPv4Address("TCP", *at(source))


def v6(source: str) -> IPv6Address:
    return IPv6Address("TCP", *at(source))


def at(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    return host, int(port)


# What it says: source and destination.
GOOD = {
    b"PROXY TCP4 192.0.2.1 10.0.0.9 40000 3000\r\n": (v4("192.0.2.1:40000"), v4("10.0.0.9:3000")),
    b"PROXY TCP6 2001:DB8:0::1 ::1 40000 3000\r\n": (v6("2001:db8::1:40000"), v6("::1:3000")),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN whatever follows\r\n": None,
    v2(0x21, 0x11, V4): (v4("192.0.2.1:40000"), v4("10.0.0.9:3000")),
    v2(0x21, 0x21, V6): (v6("2001:db8::1:40000"), v6("::1:3000")),
    v2(0x21, 0x11, V4 + b"\x04\0\0"): (v4("192.0.2.1:40000"), v4("10.0.0.9:3000")),
    v2(0x20, 0x00): None,  # LOCAL
    v2(0x20, 0x11, V4): None,
    v2(0x21, 0x00): None,  # unspecified
    v2(0x21, 0x12, V4): None,  # a datagram
    v2(0x21, 0x31, bytes(216)): None,  # a UNIX socket
}

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"\0\0\0\5\1",
    b"\x16\x03\x01",
    b"PROXY\r\n",
    b"PROXYTCP4 ",
    b"PROXY  TCP4 192.0.2.1 10.0.0.9 40000 3000\r\n",
    b"proxy TCP4",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 192.0.2.1 10.0.0.9 40000 3000\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.9 40000\r\n",
    b"PROXY TCP4 192.0.2.256 10.0.0.9 40000 3000\r\n",
    b"PROXY TCP4 example.org 10.0.0.9 40000 3000\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 40000 3000\r\n",
    b"PROXY TCP6 192.0.2.1 10.0.0.9 40000 3000\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.9 x 3000\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.9 65536 3000\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.9 -1 3000\r\n",
    b"PROXY TCP4 \xff 10.0.0.9 1 3000\r\n",
    v2(0x11, 0x11, V4),  # version 1
    v2(0x22, 0x11, V4),
    v2(0x21, 0x13, V4),
    v2(0x21, 0x41, V4),
    v2(0x21, 0x11, V4[:-1]),
    v2(0x21, 0x21, V4),
    V2_PREFIX[:4] + b"x",
]


class CodecTests(SynchronousTestCase):
    def test_good(self) -> None:
        for data, told in GOOD.items():
            source, destination = told or (None, None)
            for behind in (b"", b"GET / HTTP/1.1\r\n", data):
                self.assertEqual(
                    parse_proxy_header(data + behind), ProxyHeader(source, destination, len(data)), data
                )

    def test_some_of_it(self) -> None:
        """At every cut, more is waited for."""
        for data in GOOD:
            for cut in range(len(data)):
                self.assertIsNone(parse_proxy_header(data[:cut]), data[:cut])

    def test_bad(self) -> None:
        for data in BAD:
            self.assertRaises(BadProxyHeader, parse_proxy_header, data)

    def test_v1_at_its_limit(self) -> None:
        longest = b"PROXY UNKNOWN ".ljust(MAX_V1_SIZE - 2, b"x")
        self.assertEqual(parse_proxy_header(longest + b"\r\n"), ProxyHeader(None, None, MAX_V1_SIZE))
        self.assertIsNone(parse_proxy_header(longest + b"\r"))
        self.assertRaises(BadProxyHeader, parse_proxy_header, longest + b"x\r\n")

    def test_v2_at_its_limit(self) -> None:
        longest = v2(0x21, 0x11, V4.ljust(MAX_V2_PAYLOAD, b"\0"))
        self.assertEqual(
            parse_proxy_header(longest),
            ProxyHeader(v4("192.0.2.1:40000"), v4("10.0.0.9:3000"), V2_FIXED_SIZE + MAX_V2_PAYLOAD),
        )
        self.assertRaises(
            BadProxyHeader,
            parse_proxy_header,
            v2(0x21, 0x11, V4.ljust(MAX_V2_PAYLOAD + 1, b"\0"))[:V2_FIXED_SIZE],
        )

    @given(
        st.one_of(
            st.binary(), st.binary().map(lambda rest: V2_PREFIX + rest), st.binary().map(b"PROXY ".__add__)
        )
    )
    def test_any_bytes(self, data: bytes) -> None:
        """A header, a wait or `BadProxyHeader`, and nothing else."""
        try:
            found = parse_proxy_header(data)
        except BadProxyHeader:
            return
        self.assertTrue(found is None or found.size <= len(data))
