"""Repeated heads of requests: parsed once, and never mistaken for one another."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.http.codec import (
    MAX_REMEMBERED_HEAD,
    HttpProtocolError,
    RequestHead,
    parse_field,
    parse_head,
    repeat_for_other_client,
)
from multiproto.http.reader import RequestReader

LINE = b"GET /a HTTP/1.1\r\n"


def fields(size: int) -> bytes:
    """So many bytes of them, with their empty line."""
    start = b"Host: a\r\nX: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


class AgainTests(SynchronousTestCase):
    def test_the_same_bytes_are_the_same_head_and_the_next_one_is_found_behind_it(self) -> None:
        head, other = LINE + fields(100), b"GET /b HTTP/1.1\r\nHost: b\r\n\r\n"
        reader = RequestReader(0)
        reader.buffer += head
        first = reader.read_head()
        reader.buffer += head[:90]
        self.assertIsNone(reader.read_head())
        reader.buffer += head[90:] + other
        self.assertIs(reader.read_head(), first)
        self.assertEqual(reader.read_head(), parse_head(other))
        self.assertTrue(reader.is_empty)

    def test_the_same_fields_are_understood_once(self) -> None:
        before = parse_head(LINE + fields(100))
        again = parse_head(b"PUT /b?c HTTP/1.1\r\n" + fields(100), before)
        self.assertIs(again.fields, before.fields)
        self.assertEqual(again, parse_head(b"PUT /b?c HTTP/1.1\r\n" + fields(100)))

    def test_what_is_kept_of_them_is_bounded(self) -> None:
        said = [fields(size - len(LINE)) for size in (MAX_REMEMBERED_HEAD, MAX_REMEMBERED_HEAD + 1)]
        kept, too_long = (parse_head(LINE + each) for each in said)
        self.assertEqual((len(kept.raw), too_long.raw), (MAX_REMEMBERED_HEAD, b""))
        self.assertIsNot(parse_head(LINE + said[1], too_long).fields, too_long.fields)
        longer = parse_head(b"GET /and/longer HTTP/1.1\r\n" + said[0], kept)
        self.assertEqual((longer.fields, longer.raw), (kept.fields, b""))

    def test_only_the_same_are(self) -> None:
        before = parse_head(LINE + b"Host: a\r\nX: 1\r\n\r\n")
        other = parse_head(LINE + b"Host: a\r\nX: 2\r\n\r\n", before)
        self.assertEqual(other.fields_by_name, {b"host": b"a", b"x": b"2"})

    def test_the_line_is_looked_at_each_time(self) -> None:
        said = b"Host: a\r\n\r\n"
        before = parse_head(LINE + said)
        for line in (
            b"GET a HTTP/1.1\r\n",
            b"G(T / HTTP/1.1\r\n",
            b"GET / HTTP/2.0\r\n",
            b"GET /%zz HTTP/1.1\r\n",
        ):
            self.assertRaises(HttpProtocolError, parse_head, line + said, before)
        self.assertEqual(self.host(b"GET http://b/ HTTP/1.1\r\n" + said, before), b"b")
        self.assertEqual(parse_head(b"GET / HTTP/1.0\r\n" + said, before).keep_alive, False)

    def test_the_host_of_an_absolute_target_is_not_kept(self) -> None:
        said = b"Host: a\r\n\r\n"
        before = parse_head(b"GET http://b/ HTTP/1.1\r\n" + said)
        self.assertEqual(self.host(LINE + said, before), b"a")

    def test_white_space_around_a_value(self) -> None:
        for line, field in ((b"X: \ta b \t", (b"X", b"a b")), (b"X:", (b"X", b"")), (b"X:  ", (b"X", b""))):
            self.assertEqual(parse_field(line), field)
        for line in (b"X: a\x01", b"X:" + b" " * 16_000 + b"\x01", b"X: " + b"a " * 8_000 + b"\x7f"):
            self.assertRaises(HttpProtocolError, parse_field, line)

    def host(self, block: bytes, before: RequestHead) -> bytes | None:
        return parse_head(block, before).host


class OtherClientTests(SynchronousTestCase):
    """A head in which nothing changed but the client that a proxy speaks for."""

    HEAD = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\nX-Forwarded-Proto: https\r\n\r\n"

    def after(self, before: bytes, *following: bytes) -> list[RequestHead | None]:
        """What is read of `following`, which comes in one piece behind `before`."""
        reader = RequestReader(0)
        reader.buffer += before
        reader.read_head()
        reader.buffer += b"".join(following)
        return [reader.read_head() for _ in following]

    def test_it_is_as_if_it_was_read_for_the_first_time(self) -> None:
        first = self.HEAD % b"192.0.2.1"
        for value in (
            b"192.0.2.27",
            b"::1",
            b"203.0.113.9, 10.0.0.1",
            b"junk",
            b"",
            b" 192.0.2.1",
            b"192.0.2.1 ",
        ):
            other = self.HEAD % value
            self.assertEqual(self.after(first, other, first), [parse_head(other), parse_head(first)], value)

    def test_it_shares_what_is_the_same(self) -> None:
        before = parse_head(self.HEAD % b"192.0.2.1")
        again = repeat_for_other_client(before, bytearray(self.HEAD % b"192.0.2.2" + b"GET"))
        assert again is not None
        self.assertIs(again.forwarded, before.forwarded)
        self.assertEqual(again.raw, self.HEAD % b"192.0.2.2")

    def test_nothing_else_may_differ(self) -> None:
        before = parse_head(self.HEAD % b"192.0.2.1")
        other = self.HEAD % b"192.0.2.2"
        for changed in (
            other.replace(b"GET", b"PUT"),
            other.replace(b"/a", b"/b"),
            other.replace(b"Host: a", b"Host: b"),
            other.replace(b"https", b"http"),
            other.replace(b"\r\nX-Forwarded-Proto", b"\nX-Forwarded-Proto"),
            other[:-2] + b"X: 1\r\n\r\n",
            other[:-1],
            other[:40],
            self.HEAD % (b"192.0.2.2," * 26),
        ):
            self.assertIsNone(repeat_for_other_client(before, bytearray(changed)), changed)

    def test_a_head_with_two_of_them_is_read_each_time(self) -> None:
        twice = self.HEAD.replace(b"Host: a", b"Host: a\r\nX-Forwarded-For: 192.0.2.9") % b"192.0.2.1"
        self.assertIsNone(parse_head(twice).forwarded)

    def test_its_name_in_another_value_is_not_taken_for_it(self) -> None:
        head = (
            b"GET /a HTTP/1.1\r\nHost: a\r\nX: X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n"
        )
        other = head[:-11] + b"2.2.2.2\r\n\r\n"
        self.assertEqual(self.after(head, other), [parse_head(other)])
