"""Times as people and other programs read them."""

from __future__ import annotations

from datetime import datetime, timezone


def timestamp(seconds: float) -> str:
    """`seconds` since the epoch as RFC 3339 in UTC with milliseconds (contract, section 1)."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: str) -> float:
    """What `timestamp` was given, to the millisecond."""
    return datetime.fromisoformat(moment).timestamp()
