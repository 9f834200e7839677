"""One strict reader of JSON for all wires."""

from __future__ import annotations

import contextlib
import gc
import json
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base import strict_json
from multiproto.base.strict_json import (
    LARGE,
    LONG_INTEGER,
    MAX_CONTAINERS,
    MAX_DEPTH,
    MAX_EXACT_INTEGER,
    MAX_EXTREME_NUMBERS,
    MAX_REPEATED_KEYS,
    MAX_SIZE_WITH_REPEATED_KEYS,
    InvalidJson,
    dumps,
    dumps_canonically,
    loads,
    loads_trusted,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


class CanonicalTests(SynchronousTestCase):
    def test_equal_values_have_one_text(self) -> None:
        most = str(MAX_EXACT_INTEGER)
        for one, other in (
            ('{"a":1,"b":[2.0]}', '{"b":[2],"a":1.0}'),
            ("-0.0", "0"),
            (most, f"{most}.0"),
            ("9007199254740994", "9007199254740994.0"),  # one past it: the next double
            ("1e22", "10000000000000000000000"),
            ("1e99", str(int(1e99))),
            ("-1e99", str(int(-1e99))),
        ):
            texts = {dumps_canonically(loads(each.encode())) for each in (one, other)}
            self.assertEqual(len(texts), 1, texts)

    def test_other_values_have_another(self) -> None:
        for one, other in (
            ("true", "1"),
            ('"1.0"', '"1"'),
            ("1.5", "1"),
            ("9007199254740993", "9007199254740992"),  # of these, only the second one is a double
            ("9007199254740993", "9007199254740994.0"),
        ):
            self.assertNotEqual(
                dumps_canonically(loads(one.encode())), dumps_canonically(loads(other.encode()))
            )

    def test_a_value_is_not_made_longer(self) -> None:
        """As an integer `1e99` has a hundred digits."""
        for number in ("1e99", "2.5e22", "1.0", "10000000000000000000000", "7"):
            text = ("[" + ",".join([number] * 1_000) + "]").encode()
            self.assertLessEqual(len(dumps_canonically(loads(text))), len(text))
        self.assertEqual(dumps_canonically(2**1024), str(2**1024).encode())  # beyond a double


class JsonTests(SynchronousTestCase):
    def test_what_is_no_json_is_told_where(self) -> None:
        """By the byte, or that nothing came; nothing of the text is repeated."""
        for text, why in (
            (b"", ": it is empty"),
            (b" \r\n", ": it is empty"),
            (b'\xef\xbb\xbf{"a":1}', ": it begins with a byte order mark (EF BB BF): save it without one"),
            (b'{"a":1,}', ", at byte 7"),
            (b"{'a':1}", ", at byte 1"),
            (b'{"a":NaN}', ", at byte 5"),
            (b"email=ann%40example.org", ", at byte 0"),
            (b'{"a":1} x', ", at byte 9"),  # where `msgspec` has read it
            (b'{"a":"\xe9"}', ", at byte 6"),
            (b'{"a":1', ": it ends too early"),
            (b'{"a":"\\ud800"}', ""),
        ):
            message = str(self.assertRaises(InvalidJson, loads, text))
            self.assertEqual(message, f"not JSON in UTF-8{why}", text)

    def test_what_is_taken(self) -> None:
        for text, value in [
            (b'{"a":1}', {"a": 1}),
            (b' [1.5, true, null, "x"] ', [1.5, True, None, "x"]),
            (b'"\\ud83d\\ude00"', "\U0001f600"),
            (b'{"a":"::"}', {"a": "::"}),
            (b'{"a":1,"a":1}', {"a": 1}),
            (b'{"a":[{"b":1,"c":2}],"a":[{"c":2,"b":1}]}', {"a": [{"c": 2, "b": 1}]}),
            (b"123456789012345678901234567890", 123456789012345678901234567890),
        ]:
            self.assertEqual(loads(text), value)

    def test_what_is_refused(self) -> None:
        for text in [
            *(
                b"",
                b"x",
                b"{",
                b'{"a"}',
                b"[1,]",
                b"{}x",
                b"NaN",
                b"Infinity",
                b"-Infinity",
                b"1e999",
                b"-1e999",
            ),
            *(b"'a'", b'"\xff"', b"\xef\xbb\xbf{}", b'"a\x00"', b"01", b"+1", b"1" * 5000),
            *(b'"\\ud800"', b'"\\udc00"', b'"\\ud800a"', b'"\\ud800\\u0041"', b'"\xed\xa0\x80"'),
            *(b'{"a":1,"a":2}', b'{"a":1,"a":true}', b'[{"b":{"a":1,"a":[]}}]', b'{"a":":","a":2}'),
            *(b'{"a":1,"\\u0061":2}', b'{"a":[1,2],"a":[2,1]}', b'{"a":1,"a":1.0}'),
        ]:
            self.assertRaises(InvalidJson, loads, text)

    def test_integers_beyond_a_double(self) -> None:
        """As with a point or an exponent: no double is as large.  Digits in strings and fractions are as many as one likes."""
        largest, too_large = int(sys.float_info.max), 2**1024
        for sign in ("", "-"):
            for before, after in (("", ""), ("[1, ", "]"), ("[", ",1]"), ('{"a":', "}"), ('["0",\n', "\n]")):
                for beside in (" ", " " * LARGE):
                    taken = f"{beside}{before}{sign}{largest}{after}"
                    self.assertEqual(loads(taken.encode()), json.loads(taken))
                    for number in (too_large, "1" * 4000):
                        self.assertRaises(
                            InvalidJson, loads, f"{beside}{before}{sign}{number}{after}".encode()
                        )
        many = "1" * 4000
        for text in (f'"{many}"', f'{{"{many}":[1]}}', f"1.{many}", f"{many}e-3999", f"[1e-{many}]"):
            self.assertEqual(loads(text.encode()), json.loads(text))

    def test_why_a_number_is_refused(self) -> None:
        for text in (b"1e999", b"-1e999", b"1" * 400, b"1" * 5000, b"[1e999]"):
            self.assertRaisesRegex(InvalidJson, "^a number is out of range$", loads, text)

    def test_depth(self) -> None:
        """64 levels are taken, 65 are not, and a million are refused as quickly."""
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            inner = b"1" if closing == b"}" else b""
            loads(opening * MAX_DEPTH + inner + closing * MAX_DEPTH)
            for depth in (MAX_DEPTH + 1, 10_000):
                self.assertRaises(InvalidJson, loads, opening * depth + inner + closing * depth)
        self.assertRaises(InvalidJson, loads, b"[" * 1_000_000)

    def test_depth_of_a_large_text(self) -> None:
        """64 levels are taken, 65 are not, whatever is beside them and in strings."""
        row = b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b","
        for beside in (b"[],", b'{"]":"["},', b'{"a":[[[]],{"\\\\":"\\"]"}]},', b'"]",', row):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                start, end = b"[" + beside * LARGE, b"1" + closing * (MAX_DEPTH - 1)
                loads(start + opening * (MAX_DEPTH - 1) + end + b"]")
                self.assertRaises(InvalidJson, loads, start + opening * MAX_DEPTH + end + closing + b"]")

    def test_keys_of_a_large_text(self) -> None:
        """One that comes twice has the same value each time; a colon that was escaped hides none."""
        beside = b'{"a":":"},' * LARGE
        for keys, taken in (
            (b'"a":1,"a":1', True),
            (b'"a":1,"a":2', False),
            (b'"a":1,"a":2,"b":"\\u003a"', False),
            (b'"a":1,"a":2,"b":"\\u003A"', False),
            (b'"a":1,"b":"\\u003a"', True),
        ):
            text = b"[" + beside + b"{" + keys + b"}]"
            if taken:
                self.assertEqual(loads(text), json.loads(text))
            else:
                self.assertRaises(InvalidJson, loads, text)

    def test_garbage_is_collected_after_a_large_text(self) -> None:
        """Whether it was taken or refused, and not where it was not before."""
        self.addCleanup(gc.enable)
        for text in (b"[" + b"[]," * LARGE + b"[]]", b"[" * LARGE * 2):
            for change, enabled in ((gc.enable, True), (gc.disable, False)):
                change()
                with contextlib.suppress(InvalidJson):
                    loads(text)
                self.assertEqual(gc.isenabled(), enabled)

    def test_how_many_arrays_and_objects(self) -> None:
        """100,000 are taken, one more is not; those in strings are none."""
        loads(b"[" + b",".join([b"[]"] * (MAX_CONTAINERS - 1)) + b"]")
        self.assertRaises(InvalidJson, loads, b"[" + b",".join([b"{}"] * MAX_CONTAINERS) + b"]")
        text = b'"' + b'[{\\"' * MAX_CONTAINERS + b'"'
        self.assertEqual(len(loads(text)), 3 * MAX_CONTAINERS)

    def test_how_many_extreme_numbers(self) -> None:
        """1,000 are taken, one more is not; those in strings are none, and others are as many as one likes."""
        for number in (b"1e308", b"1.5E-300", b"2e+100"):
            loads(b"[" + b",".join([number] * MAX_EXTREME_NUMBERS) + b"]")
            self.assertRaises(
                InvalidJson, loads, b"[" + b",".join([number] * (MAX_EXTREME_NUMBERS + 1)) + b"]"
            )
        for number in (b"1.5e-30", b"true", b'"e100"'):
            loads(b"[" + b",".join([number] * MAX_EXTREME_NUMBERS * 2) + b"]")
        text = b'"' + b'1e308 \\" 1e308' * MAX_EXTREME_NUMBERS + b'"'
        self.assertEqual(loads(text), text[1:-1].decode().replace("\\", ""))

    def test_strings_are_taken_out_only_where_they_decide(self) -> None:
        """That took two thirds of the time of a megabyte of `1e15`, and seven eighths of that of long integers."""

        def take_out(text: bytes, kept: bytes = b"") -> bytes:
            raise AssertionError(f"{text[:20]!r} was looked at without its strings")

        self.patch(strict_json, "_outside_strings", take_out)
        for number in (b"1e15", b"1.5E-99", b"-2e+10", b"123456789e9", b"9" * (LONG_INTEGER - 1)):
            self.assertEqual(len(loads(b"[" + b",".join([number] * 2000) + b"]")), 2000)

    def test_how_many_keys_may_come_twice(self) -> None:
        """1,000, with the same value; in strings there are none, whatever is escaped in them."""
        for text in (
            b'{"a":1%s}' % (b',"a":1' * MAX_REPEATED_KEYS),
            b"[%s]" % b",".join([b'{"a":1,"a":1}'] * MAX_REPEATED_KEYS),
        ):
            loads(text)
        for text in (
            b'{"a":1%s}' % (b',"a":1' * (MAX_REPEATED_KEYS + 1)),
            b"[%s]" % b",".join([b'{"a":1,"a":1}'] * (MAX_REPEATED_KEYS + 1)),
        ):
            self.assertRaises(InvalidJson, loads, text)
        for inside in (b":", rb"\":", rb"\\", rb"\\\":\\"):
            loads(b'{"%s":"%s"}' % (inside, inside * 2 * MAX_REPEATED_KEYS))
        self.assertRaises(InvalidJson, loads, rb'{"\\":1,"a":":\":","a":2}')

    def test_how_large_a_text_may_be_in_which_a_key_comes_twice(self) -> None:
        """Arrays, objects and keys are counted; where each key comes once there is no such limit."""
        before = b'[{"a":1,"a":1},'  # four of them
        for other, size in ((b"{}", 1), (b"[]", 1), (b'{"b":1}', 2), (b'{"b":":{["}', 2)):
            fitting = [other] * ((MAX_SIZE_WITH_REPEATED_KEYS - 4) // size)
            loads(before + b",".join(fitting) + b"]")
            self.assertRaises(InvalidJson, loads, before + b",".join([*fitting, other]) + b"]")
            loads(b"[" + b",".join([*fitting, other, other]) + b"]")

    def test_a_string_that_does_not_end_is_looked_at_once(self) -> None:
        """From each of its quotes to the end of the text would take hours."""
        for said in (b"[", b"1e308"):
            self.assertRaises(InvalidJson, loads, b'"' + said * (MAX_CONTAINERS + 1) + b'\\"' * 200_000)

    @given(VALUES)
    def test_round_trip(self, value: object) -> None:
        self.assertEqual(loads(dumps(value)), value)
        self.assertEqual(json.loads(dumps(value)), value)
        self.assertEqual(loads(b"[" + b"[]," * LARGE + dumps(value) + b"]")[-1], value)
        self.assertEqual(loads_trusted(dumps({"envelope": [value]}).decode()), {"envelope": [value]})

    @given(st.one_of(st.binary(), st.text('[]{}":,.0123456789aeE\\u+- ').map(str.encode)))
    def test_total(self, text: bytes) -> None:
        """Bytes are a value or `InvalidJson`; and what passes, the standard library reads alike."""
        try:
            value = loads(text)
        except InvalidJson:
            return
        self.assertEqual(json.loads(text), value)
