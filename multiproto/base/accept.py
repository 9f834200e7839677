"""Header fields that list what a client takes, with weights: Accept, Accept-Encoding (RFC 9110, 12.4.2)."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(256)
def parse_weights(header: str) -> tuple[tuple[str, float], ...]:
    """Each member in lower case with its weight, in their order; one whose weight is no number weighs nothing."""
    return tuple(_parse_member(member) for member in header.lower().split(","))


def _parse_member(member: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in member.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0
