"""How far two spellings of a name are apart, to say what somebody may have meant."""

from __future__ import annotations

from typing import Iterable

MAX_LENGTH = 40  # characters of a name that are compared; ours are shorter


def edit_distance(one: str, other: str) -> int:
    """How many characters to insert, drop or replace (Levenshtein), regardless of case."""
    one, other = one[:MAX_LENGTH].casefold(), other[:MAX_LENGTH].casefold()
    row = list(range(len(other) + 1))
    for above, left in enumerate(one, 1):
        diagonal, row[0] = row[0], above
        for at, right in enumerate(other, 1):
            replaced = diagonal + (left != right)
            diagonal = row[at]
            row[at] = min(replaced, diagonal + 1, row[at - 1] + 1)
    return row[-1]


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The candidate with the smallest distance from `name`; of several, the first."""
    return min(candidates, key=lambda candidate: edit_distance(name, candidate))
