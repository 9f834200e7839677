"""What this process knows of the log's history, and where it parts from the one that the database has.

The log can go back, or go on in another way, under running instances: with a
backup that is restored, or a standby that is promoted without the latest
events.  Each transaction leaves a head with a random mark, so a process is on
the history that it knows as long as the newest head that it has seen is there.
docs/decisions/040-heads-with-marks.md
"""

from __future__ import annotations

from collections import deque
from typing import Collection, Deque, Iterable, Sequence

from attrs import define, field, frozen

from ...core.transactions import Row

HEADS_KEPT = 100_000  # in the database, the newest; some 10 MB
MAX_REMEMBERED = 10_000  # heads that were seen, some 2 MB


@frozen
class Head:
    """The end of the log behind one transaction."""

    number: int  # in commit order
    position: int  # of the newest event
    mark: str  # random

    @classmethod
    def from_row(cls, row: Row) -> Head:
        return cls(row["number"], row["position"], row["mark"])


NO_HEAD = Head(0, 0, "")  # before anything is known; no row has this number


@define(eq=False, repr=False)
class KnownHeads:
    """The heads that this process has seen of one history."""

    generation: int = field(default=0, init=False)  # how often the history was replaced
    _seen: Deque[Head] = field(factory=lambda: deque(maxlen=MAX_REMEMBERED), init=False)  # the newest last

    @property
    def newest(self) -> Head:
        return self._seen[-1] if self._seen else NO_HEAD

    @property
    def numbers(self) -> Sequence[int]:
        return [head.number for head in self._seen]

    def observe(self, head: Head) -> None:
        """`head` was read where the newest that was known is, too."""
        if head.number > self.newest.number:
            self._seen.append(head)

    def replace(self, head: Head) -> None:
        """Forget all of another history than that of `head`."""
        self.generation += 1
        self._seen.clear()
        self._seen.append(head)

    def newest_common(self, rows: Iterable[Row]) -> Head | None:
        """The newest that is among `rows` of the database with the same mark, if any is."""
        there = {row["number"]: row["mark"] for row in rows}
        return next((head for head in reversed(self._seen) if there.get(head.number) == head.mark), None)

    def parted_at(
        self, head: Head, terms: Sequence[Row], known_terms: Collection[str], common: Head | None
    ) -> Parting:
        """Where a log that ends with `head` and has these `terms` parts from what this process knows.

        `known_terms` are the ids of those that it knew, and `common` is the newest head that both have.  Terms that it
        does not know were begun since, in the other history: where another instance has begun one where it saw the
        two part, or entered this copy of the log, none is needed.
        """
        unknown = [n for n, row in enumerate(terms) if row["id"] not in known_terms]
        begun = [
            terms[n]["first_position"] - 1
            for n in unknown
            if terms[n]["parted"] or (n > 0 and terms[n]["copy"] != terms[n - 1]["copy"])
        ]
        if common is not None:
            least = common.position
        elif head.number - self.newest.number >= HEADS_KEPT:  # ours may have been pruned
            return Parting(min([*begun, self.newest.position]), has_term=True)
        else:  # no later than the newest term that both have
            least = max((row["first_position"] - 1 for row in terms if row["id"] in known_terms), default=0)
        lost = next(each for each in self._seen if common is None or each.number > common.number)  # the first
        begun = [position for position in begun if position <= lost.position]
        if begun:
            return Parting(min(begun), has_term=True)
        return Parting(least, any(terms[n]["first_position"] <= least + 1 for n in unknown))


@frozen
class Parting:
    """Where two histories part."""

    position: int  # of the newest event that both have
    has_term: bool  # whether a term that this process does not know begins there, or before
