"""The grants of a credential: as a client asks for them, as they are kept, and as they are shown."""

from __future__ import annotations

from typing import Iterable

from .errors import FieldError, ValidationError
from .rules import VERBS, Grant
from .topics import MAX_TOPIC_BYTES, MAX_TOPIC_WORDS, check_pattern

MAX_GRANTS = 16  # of one credential: each is compared with what it hears


def parse(value: object) -> tuple[Grant, ...]:
    """What a client wrote: a list of `{pattern, verbs}`.  Raises `ValidationError` with all its faults."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_GRANTS:
        raise ValidationError.for_field("grants", f"Must be a list of 1 to {MAX_GRANTS} grants")
    faults: list[FieldError] = []
    grants = []
    for place, each in enumerate(value):
        found = [FieldError(("grants", place, *path), message) for path, message in _grant_errors(each)]
        faults += found
        if not found:
            grants.append(Grant(each["pattern"], each["verbs"]))
    if faults:
        raise ValidationError(faults)
    return tuple(grants)


def serialize(grants: Iterable[Grant]) -> str:
    """As text: a line for each.  No pattern holds white space, so there is one way to read it."""
    return "\n".join(f"{','.join(_ordered_verbs(grant))} {grant.pattern}" for grant in grants)


def deserialize(text: str) -> tuple[Grant, ...]:
    """What `serialize` was given."""
    lines = (line.split(" ") for line in text.split("\n"))
    return tuple(Grant(pattern, verbs.split(",")) for verbs, pattern in lines)


def to_json(grants: Iterable[Grant]) -> list[dict[str, object]]:
    """JSON-ready, as it was asked for."""
    return [{"pattern": grant.pattern, "verbs": _ordered_verbs(grant)} for grant in grants]


def _is_pattern(text: str) -> bool:
    try:
        return bool(check_pattern(text))
    except ValidationError:
        return False


def _ordered_verbs(grant: Grant) -> list[str]:
    return [verb for verb in VERBS if verb in grant.verbs]


def _grant_errors(grant: object) -> Iterable[tuple[tuple[str, ...], str]]:
    """(path, message) of all that is wrong with one."""
    if not isinstance(grant, dict):
        yield (), "Must be an object with pattern and verbs"
        return
    pattern, verbs = grant.get("pattern"), grant.get("verbs")
    if not isinstance(pattern, str):
        yield ("pattern",), "Must be a topic pattern"
    elif pattern.startswith("_"):
        yield ("pattern",), "These topics are the server's own"
    elif not _is_pattern(pattern):
        yield (
            ("pattern",),
            f"Must be a topic pattern of at most {MAX_TOPIC_WORDS} words and {MAX_TOPIC_BYTES} bytes",
        )
    if not isinstance(verbs, list) or not verbs or not all(verb in VERBS for verb in verbs):
        yield ("verbs",), f"Must be a list of some of {', '.join(VERBS)}"
