"""Parses JSON strictly and writes it compactly: one pair of functions for every wire.

Strict (docs/common.md#json): UTF-8, no NaN or infinity, no number beyond a
double, no lone surrogate, no duplicate keys with different values, at most 64
levels.  `msgspec` refuses all but integers beyond a double and the last two, and is
four times faster than the standard library, which is used only where a key may be a duplicate.
"""

from __future__ import annotations

import gc
import json
import re
from itertools import accumulate, chain
from math import isinf
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import astuple

from .byte_order_mark import BOM_PROBLEM, has_bom

MAX_DEPTH = 64
MAX_CONTAINERS = 100_000  # of one text; a megabyte of nested brackets held the reactor for 0.8 s
MAX_EXTREME_NUMBERS = (
    1_000  # numbers of one text with an exponent of three digits: 17 µs each, a megabyte 2.7 s
)
FEW_CONTAINERS = 16  # on one level, which are looked at one by one
LARGE = 1_000  # brackets and colons of a text that is checked as text: to walk through its value takes longer
LEAVES_REMOVED = 8  # times that the innermost containers of a text are removed before those left are counted
MAX_REPEATED_KEYS = 1_000  # of one text; a megabyte of them held the reactor for 0.2 s
LONG_INTEGER = 309  # digits: the fewest of an integer beyond a double
SAMPLE_STEP = LONG_INTEGER // 4  # bytes: of so many digits in a row, at least four are in the sample
MAX_SIZE_WITH_REPEATED_KEYS = 20_000  # arrays, objects and keys of one text: 95,000 objects held it for 0.1 s

_BRACKETS_IN_A_ROW = re.compile(rb"\[+|\]+")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_FOLDED_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_RUN = b"0" * LONG_INTEGER
_FOLDED_EXPONENTS = bytes.maketrans(b"123456789E-", b"000000000e+")
_FOUR_DIGITS = re.compile(rb"[0-9]{4}")
_LONG_INTEGERS = re.compile(rb"[\s,:\[](-?[0-9]{%d,}+)(?![.eE])" % LONG_INTEGER)
_FAULT_POSITION = re.compile(r"\(byte ([0-9]+)\)$")
# A float that may be an integer as we write it, or an integer that may be a float; text in strings may match, too.
_TWO_SPELLINGS = re.compile(rb"[0-9](?:\.0|e\+?[0-9]+)(?![0-9])|[0-9]{16}")
MAX_EXACT_INTEGER = (
    2**53
)  # up to here each integer is a double, beyond it a double has more digits as an integer
_ALL_BYTES = bytes(range(256))

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode  # for comparing: by `==`, 1 is the same as True

S = TypeVar("S", bound=msgspec.Struct)


class InvalidJson(ValueError):
    """The text is not strict JSON; the message says why."""


def loads(text: bytes) -> Any:
    """The value of `text`.  Raises `InvalidJson`, never anything else."""
    containers, colons = text.count(b"[") + text.count(b"{"), text.count(b":")
    if containers + colons <= LARGE or not gc.isenabled():
        return _load(text, containers, colons)
    gc.disable()  # it would run a hundred times for 100,000 containers, and find each of them alive
    try:
        return _load(text, containers, colons)
    finally:
        gc.enable()


def _load(text: bytes, containers: int, colons: int) -> Any:
    """The value of `text`, which has so many opening brackets and colons, those in strings included."""
    if containers > MAX_CONTAINERS and _count_containers(text) > MAX_CONTAINERS:
        raise InvalidJson(f"more than {MAX_CONTAINERS} arrays and objects")
    if _has_too_many_extreme_numbers(text):
        raise InvalidJson(f"more than {MAX_EXTREME_NUMBERS} numbers with an exponent of three digits")
    try:
        value = _decode(text)
    except msgspec.ValidationError:  # without a type to decode, of numbers alone
        raise InvalidJson("a number is out of range") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise InvalidJson(_describe_malformed(text, str(fault))) from None
    except RecursionError:
        raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels") from None
    if _has_integer_out_of_range(text):
        raise InvalidJson("a number is out of range")
    if colons < 2 and containers <= MAX_DEPTH:
        return value  # too few for a duplicate, or for so many levels
    if containers + colons > LARGE:
        if containers > MAX_DEPTH and _is_too_deep(text):
            raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels")
        if _has_kept_all_keys(value, text, colons):
            return value
    keys = _count_keys(value)
    if keys < colons:
        all_keys = _outside_strings(text, b":").count(b":")
        if all_keys - keys > MAX_REPEATED_KEYS:
            raise InvalidJson(f"more than {MAX_REPEATED_KEYS} keys that come twice")
        if all_keys > keys:
            if all_keys + _count_containers(text) > MAX_SIZE_WITH_REPEATED_KEYS:
                raise InvalidJson(
                    f"a key comes twice among more than {MAX_SIZE_WITH_REPEATED_KEYS} arrays, objects and keys"
                )
            json.loads(text, object_pairs_hook=_reject_ambiguous_keys)
    return value


def _describe_malformed(text: bytes, fault: str) -> str:
    """What is wrong with `text`, and at which byte, as `msgspec` names it; nothing of the text is repeated."""
    if not text.strip():
        return "not JSON in UTF-8: it is empty"
    if has_bom(text):
        return f"not JSON in UTF-8: it {BOM_PROBLEM}"
    try:
        text.decode()
    except UnicodeDecodeError as undecodable:
        return f"not JSON in UTF-8, at byte {undecodable.start}"
    position = _FAULT_POSITION.search(fault)
    if position is not None:
        return f"not JSON in UTF-8, at byte {position[1]}"
    # Of a lone surrogate it says the same.
    return "not JSON in UTF-8" if b"\\u" in text else "not JSON in UTF-8: it ends too early"


def loads_trusted(text: str) -> Any:
    """The value of a text that `dumps` gave: without the limits, which a value inside an envelope may exceed."""
    return _decode(text)


class StructDecoder(Generic[S]):
    """A fast decoder for the objects that are most frequent: with the fields of a `Struct` and no others.

    A field that may be absent is `UNSET` then.
    """

    def __init__(self, struct: type[S]) -> None:
        self._decode = msgspec.json.Decoder(struct).decode

    def decode(self, text: bytes) -> S | None:
        """The value of `text`; `None` where `loads` must decide, or say what is wrong."""
        if len(text) >= LONG_INTEGER and (
            len(text) > MAX_CONTAINERS
            or _has_too_many_extreme_numbers(text)
            or _has_integer_out_of_range(text)
        ):
            return None
        try:
            value = self._decode(text)
            members = list(astuple(value))
            keys = len(members) - members.count(msgspec.UNSET) + _count_keys(members)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        # An unknown or duplicate key is not counted, but its colon is.
        return value if keys == text.count(b":") else None


def dumps(value: object) -> bytes:
    """`value` as compact JSON in UTF-8."""
    return _encode(value)


def dumps_canonically(value: object) -> bytes:
    """`value` as JSON that is the same for equal values, with sorted keys: 1.0 is written as 1."""
    text = _encode_sorted(value)
    return _encode_sorted(_with_one_spelling(value)) if _TWO_SPELLINGS.search(text) else text


def _with_one_spelling(value: Any) -> Any:
    """`value` with the shorter of the two spellings of each number that is an integer and a double.

    As an integer `1e99` has a hundred digits: a megabyte of them was 20 MB, and took 0.3 s to compare.
    """
    if type(value) is float:
        return int(value) if abs(value) <= MAX_EXACT_INTEGER and value.is_integer() else value
    if type(value) is int:
        is_double = MAX_EXACT_INTEGER < abs(value) < 2**1023 and float(value) == value
        return float(value) if is_double else value
    if type(value) is dict:
        return {key: _with_one_spelling(member) for key, member in value.items()}
    if type(value) is list:
        return [_with_one_spelling(member) for member in value]
    return value


def splice(value: object, encoded: bytes | None) -> object:
    """`value`, to stand within what `dumps` is given; where its text is known, `dumps` copies it as it is."""
    return value if encoded is None else msgspec.Raw(encoded)


def _count_keys(value: object) -> int:
    """The number of keys in all of `value`: fewer than colons in the text if one was a duplicate.

    Goes level by level: a recursive function took three times as long.
    """
    count = 0
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        if len(level) > FEW_CONTAINERS:
            keys, below = _keys_and_level_below(level)
            count += keys
        else:
            for members in level:
                if type(members) is dict:
                    count += len(members)
                    members = members.values()
                for member in members:  # a list comprehension with `isinstance` takes twice as long
                    if type(member) is dict or type(member) is list:
                        below.append(member)
        if not below:
            return count
        level = below
    raise InvalidJson(f"nested deeper than {MAX_DEPTH} levels")


def _keys_and_level_below(level: list[Any]) -> tuple[int, list[Any]]:
    """The number of keys in all containers of `level`, and the containers in these: for many at once.

    100,000 took 10 to 15 ms instead of 30 to 40 in a loop; for a few the loop is twice as fast.
    """
    objects = [container for container in level if type(container) is dict]
    arrays = [container for container in level if type(container) is list]
    members = chain(chain.from_iterable(map(dict.values, objects)), chain.from_iterable(arrays))
    below = [member for member in members if type(member) is dict or type(member) is list]
    return sum(map(len, objects)), below


def _has_kept_all_keys(value: Any, text: bytes, colons: int) -> bool:
    """Whether `value` surely has every key of `text`, which has so many colons.

    Written again, it has fewer where a duplicate was dropped: those in its strings come again, unless one was
    escaped.  To write 100,000 containers takes 1 to 5 ms.
    """
    return b"\\u003" not in text and _encode(value).count(b":") == colons


def _is_too_deep(text: bytes) -> bool:
    """Whether there are more than `MAX_DEPTH` levels in `text`, which is JSON.

    The innermost containers are removed a few times: of 100,000 at most a tenth has others within that are still
    left, and so few rows of brackets begin there.  To remove all of them level by level took three times as long.
    """
    brackets = _outside_strings(text, b"[]{}").translate(_TO_SQUARE)
    for _ in range(LEAVES_REMOVED):
        brackets = brackets.replace(b"[]", b"")
    rows = _BRACKETS_IN_A_ROW.findall(brackets)
    levels = accumulate(len(row) if row.startswith(b"[") else -len(row) for row in rows)
    return LEAVES_REMOVED + max(levels, default=0) > MAX_DEPTH


def _count_containers(text: bytes) -> int:
    """The number of arrays and objects in `text`, without brackets in its strings."""
    return len(_outside_strings(text, b"[{"))


def _outside_strings(text: bytes, kept: bytes = _ALL_BYTES) -> bytes:
    """The bytes `kept` of `text` without its strings; one that does not end goes to the end of the text.

    A regular expression took six times as long.
    """
    without_escapes = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    if kept is not _ALL_BYTES:
        # Of most strings nothing is left but their quotes, or those between them and the next one.
        only_kept = without_escapes.translate(None, _ALL_BYTES.translate(None, kept + b'"'))
        without_escapes = only_kept.replace(b'""', b"")
    return b"".join(without_escapes.split(b'"')[::2])


def _has_too_many_extreme_numbers(text: bytes) -> bool:
    """Numbers in its strings are not counted; a short text can't have so many."""
    if len(text) < 5 * MAX_EXTREME_NUMBERS or text.count(b"e") + text.count(b"E") <= MAX_EXTREME_NUMBERS:
        return False
    if _count_long_exponents(text) <= MAX_EXTREME_NUMBERS:
        return False  # to take the strings out takes longer than to decode what has 200,000 short exponents
    return _count_long_exponents(_outside_strings(text)) > MAX_EXTREME_NUMBERS


def _count_long_exponents(text: bytes) -> int:
    """How often three digits stand behind an "e" and a sign, if it has one."""
    folded = text.translate(_FOLDED_EXPONENTS)
    return folded.count(b"e000") + folded.count(b"e+000")


def _has_integer_out_of_range(text: bytes) -> bool:
    """Whether an integer of `text` is beyond a double; `msgspec` accepts up to 4,300 digits.

    For most texts the sample is enough: 0.8 µs for a kilobyte, which takes 8 µs to decode.
    """
    if len(text) < LONG_INTEGER or _FOUR_DIGITS.search(text[::SAMPLE_STEP]) is None:
        return False
    if _LONG_RUN not in text.translate(_FOLDED_DIGITS):
        return False  # so many digits stand nowhere, be it in a string
    found = _LONG_INTEGERS.findall(b" " + _outside_strings(text))  # the space: it may be the whole text
    return any(isinf(float(number)) for number in found)


def _reject_ambiguous_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    found.clear()
    for key, value in pairs:
        if key in found and _encode_sorted(found[key]) != _encode_sorted(value):
            raise InvalidJson("a key comes twice with different values")
        found[key] = value
    return found
