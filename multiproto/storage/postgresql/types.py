"""Values as PostgreSQL's parameters and columns: in its text format, both ways.

Times are `timestamptz` there and RFC 3339 text with milliseconds everywhere
else; the session's `TimeZone` is UTC and its `DateStyle` ISO.
"""

from __future__ import annotations

from typing import Callable, Mapping

from ...base import strict_json

ColumnDecoder = Callable[[bytes], object]


def encode_parameter(value: object) -> bytes | None:
    """`value` as a parameter, with lists and objects as JSON text.  Raises `ValueError` for a text with a NUL."""
    match value:
        case None:
            return None
        case bool():
            return b"true" if value else b"false"
        case int():
            return b"%d" % value
        case str():
            text = value.encode()
        case list() | tuple() | dict():
            text = strict_json.dumps(value)
        case _:
            raise TypeError(f"no {type(value).__name__} goes to the database")
    if b"\0" in text:  # libpq would send what is before it
        raise ValueError("a text for PostgreSQL can't hold a NUL")
    return text


def decoder_for(oid: int) -> ColumnDecoder:
    """The function that turns a column of the type `oid` (pg_type) into a value."""
    return _DECODERS.get(oid, _decode_text)


def _decode_text(value: bytes) -> str:
    return value.decode()


def _decode_bool(value: bytes) -> bool:
    return value == b"t"


def _decode_timestamp(value: bytes) -> str:
    """RFC 3339 with milliseconds, from "2026-11-22 19:21:04.5+00", whose fraction has no trailing zeros."""
    text = value.decode()
    date, time = text[:10], text[11:-3]
    seconds, _, fraction = time.partition(".")
    return f"{date}T{seconds}.{fraction[:3]:0<3}Z"


_DECODERS: Mapping[int, ColumnDecoder] = {
    16: _decode_bool,
    20: int,
    21: int,
    23: int,
    1184: _decode_timestamp,
}
