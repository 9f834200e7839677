"""How far two spellings of a name are apart, to say what somebody may have meant."""

from __future__ import annotations

from typing import Iterable

MAX_LENGTH = 40  # characters of a name that are compared; ours are shorter


def edit_distance(one: str, other: str) -> int:
    """How many characters to insert, drop or replace, or pairs to swap, regardless of case.

    It is the distance of optimal string alignment: Levenshtein's, in which `kye` is two from `key`, with swaps.
    """
    # Cut behind, too: folding makes three characters of one.
    one, other = (each[:MAX_LENGTH].casefold()[:MAX_LENGTH] for each in (one, other))
    before: list[int] = []
    row = list(range(len(other) + 1))
    for above, left in enumerate(one, 1):
        two_before, before, row = before, row, [above]
        for at, right in enumerate(other, 1):
            distance = min(before[at - 1] + (left != right), before[at] + 1, row[at - 1] + 1)
            if at > 1 and above > 1 and (left, one[above - 2]) == (other[at - 2], right):
                distance = min(distance, two_before[at - 2] + 1)
            row.append(distance)
    return row[-1]


def nearest(name: str, candidates: Iterable[str]) -> str:
    """The candidate with the smallest distance from `name`; of several, the first."""
    return min(candidates, key=lambda candidate: edit_distance(name, candidate))
