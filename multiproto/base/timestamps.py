"""Formats and parses times: RFC 3339, in UTC, with milliseconds."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import lru_cache
from math import modf


def format_timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds (docs/common.md#values)."""
    fraction, whole = modf(seconds)
    microseconds = round(fraction * 1_000_000)  # as `datetime` rounds
    return f"{_format_second(whole + microseconds // 1_000_000)}.{microseconds % 1_000_000 // 1000:03d}Z"


@lru_cache(maxsize=64)
def _format_second(seconds: float) -> str:
    """A whole second, without its zone: nearly always the present one or the last."""
    return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None).isoformat()


def parse_timestamp(moment: str) -> float:
    """The seconds since the epoch that `format_timestamp` was given, to the millisecond."""
    return datetime.fromisoformat(moment).timestamp()
