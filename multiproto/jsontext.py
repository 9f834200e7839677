"""JSON text, read strictly and written compactly: one pair of functions for every wire.

Strict (contract, section 1): UTF-8, no NaN or infinity, no number beyond a
double, no lone surrogate, no two keys of one object that differ in value, at
most 64 levels.  `msgspec` refuses all but the last two and is four times
faster than the standard library, which is asked only where a key may be double.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

MAX_DEPTH = 64

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class NotJson(ValueError):
    """The text is not JSON as the contract wants it; the message says why."""


def loads(text: bytes) -> Any:
    """The value that `text` says.  Raises `NotJson`, never anything else."""
    try:
        value = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotJson("not JSON in UTF-8") from None
    except RecursionError:
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        raise NotJson("a number is out of range") from None
    if _keys(value, MAX_DEPTH) < text.count(b":"):
        json.loads(text, object_pairs_hook=_unambiguous)
    return value


def dumps(value: object) -> bytes:
    """`value` as compact JSON in UTF-8."""
    return _encode(value)


def _keys(value: object, depth: int) -> int:
    """How many keys there are in all of `value`; fewer than colons where one came twice."""
    if isinstance(value, dict):
        members, count = list(value.values()), len(value)
    elif isinstance(value, list):
        members, count = value, 0
    else:
        return 0
    if not depth:
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels")
    return count + sum(_keys(member, depth - 1) for member in members if isinstance(member, (dict, list)))


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and _encode(found[key]) != _encode(value):
            raise NotJson("a key comes twice with different values")
        found[key] = value
    return found
