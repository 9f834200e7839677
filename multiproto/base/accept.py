"""Header fields that list what a client takes, with weights: Accept, Accept-Encoding (RFC 9110, 12.4.2)."""

from __future__ import annotations

from functools import lru_cache

MAX_MEMBERS = 50  # that are read; a header of 16 KiB may have as many thousands, and each is remembered
MAX_PARAMETERS = 10  # of a member


@lru_cache(256)
def parse_weights(header: str) -> tuple[tuple[str, float], ...]:
    """The first members in lower case with their weights; one whose weight is no number weighs nothing."""
    members = header.lower().split(",", MAX_MEMBERS)[:MAX_MEMBERS]
    return tuple(_parse_member(member) for member in members)


def _parse_member(member: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in member.split(";", MAX_PARAMETERS))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0
