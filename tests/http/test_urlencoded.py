"""Forms and query strings."""

from __future__ import annotations

from urllib.parse import quote_plus, unquote_to_bytes

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import InvalidInput
from multiproto.http.urlencoded import MAX_BARE_PERCENTS, MAX_FIELDS, parse_urlencoded, unescape

# What escapes and quoted-printable are made of.
CHARACTERS = st.lists(
    st.sampled_from([b"%", b"=", b"+", b"4", b"1", b"g", b" ", b"\r", b"\n", b"_", b"\xff"])
)


class UrlencodedTests(SynchronousTestCase):
    @given(CHARACTERS.map(b"".join))
    @example(b"%")
    @example(b"%4")
    @example(b"%=\n%41%0")
    def test_as_the_standard_library_reads_it(self, text: bytes) -> None:
        self.assertEqual(unescape(text), unquote_to_bytes(text.replace(b"+", b" ")))

    @given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
    def test_what_a_browser_sends_comes_back(self, fields: list[tuple[str, str]]) -> None:
        sent = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in fields)
        found = [(name.decode(), value.decode()) for name, value in parse_urlencoded(sent.encode(), "body")]
        self.assertEqual(found, fields)

    def test_fields(self) -> None:
        for text, fields in (
            (b"", []),
            (b"&&a&", [(b"a", b"")]),
            (b"a=1=2&b=", [(b"a", b"1=2"), (b"b", b"")]),
            (b"a;b=1", [(b"a;b", b"1")]),
            (b"%61%3D=%26+%2b", [(b"a=", b"& +")]),
        ):
            self.assertEqual(parse_urlencoded(text, "query"), fields, text)

    def test_too_many_fields(self) -> None:
        self.assertEqual(len(parse_urlencoded(b"a&" * (MAX_FIELDS - 1) + b"a", "query")), MAX_FIELDS)
        with self.assertRaises(InvalidInput):
            parse_urlencoded(b"&" * 100_000, "query")

    def test_a_control_character_stands_for_itself_nowhere(self) -> None:
        """`echo … | curl --data-binary @-` sends a line end behind the last field: it was part of the password."""
        for text, problem in (
            (b"a=1&password=Passw0rd%21\n", "line end at byte 24: write it as %0A"),
            (b"a=1\r\n&b=2", "line end at byte 3: write it as %0D"),
            (b"a\0=1", "control character at byte 1: write it as %00"),
            (b"a=\x7f", "control character at byte 2: write it as %7F"),
        ):
            with self.assertRaises(InvalidInput) as refused:
                parse_urlencoded(text, "body")
            self.assertIn(problem, refused.exception.message)
        self.assertEqual(parse_urlencoded(b"a=%0D%0A%00", "body"), [(b"a", b"\r\n\0")])

    def test_a_million_percents(self) -> None:
        """They took a second of everybody's time."""
        self.assertEqual(unescape(b"%" * MAX_BARE_PERCENTS), b"%" * MAX_BARE_PERCENTS)
        for text in (b"%" * 2**20, b"%zz" * 2**18, b"%41%" * 2**18):
            with self.assertRaises(InvalidInput):
                unescape(text)
