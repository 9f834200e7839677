"""How a position of the log is named to clients.

A cursor is the position with the term it was written in.  A term begins
whenever a writer starts, or finds that the log has another history than it knew,
under a random id, so that a log restored from a backup, which goes on from an
earlier position, gives no cursor a second meaning.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Iterable, Sequence

from attrs import field, frozen

from ..core.transactions import Row, Step

_CURSOR = re.compile(r"[^.]+\.(-?[0-9]{1,18})")  # so many digits fit every engine's integers


@frozen
class Term:
    """A stretch of the log that one writer began."""

    id: str  # random
    first_position: int  # the first position that may be written in it


@frozen
class Terms:
    """The terms of a log that have a position, in the order they began; at least one."""

    ordered: tuple[Term, ...]
    _first_positions: Sequence[int] = field(init=False, eq=False, repr=False)

    @_first_positions.default
    def _collect_first_positions(self) -> Sequence[int]:
        return [term.first_position for term in self.ordered]

    @classmethod
    def from_rows(cls, rows: Iterable[Row]) -> Terms:
        """From what the statement `terms_all` gives.

        A term that begins where the histories of two instances part may go back behind others, and takes their place.
        """
        ordered: list[Term] = []
        for row in rows:
            while ordered and ordered[-1].first_position > row["first_position"]:
                ordered.pop()
            ordered.append(Term(row["id"], row["first_position"]))
        return cls(tuple(ordered))

    def cursor_of(self, position: int) -> str:
        """The opaque, URL-safe name of `position`; always the same for one entry.

        Of terms with the same first position all but the last wrote nothing.
        Position 0, before the first entry, and those of rows from before the log belong to the first term.
        """
        later = bisect_right(self._first_positions, position)
        return f"{self.ordered[max(later - 1, 0)].id}.{position}"

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        """Those of many positions, as a list has them: nearly all are in the newest term."""
        newest = self.ordered[-1]
        lead, first = f"{newest.id}.", newest.first_position
        return [
            f"{lead}{position}" if position >= first else self.cursor_of(position) for position in positions
        ]

    def position_of(self, cursor: str) -> int | None:
        """The position that `cursor` names; `None` for a text that `cursor_of` never gave.

        A name outlives its position only in a restored backup, where a later term has begun at or
        before that position and given it another name.  Whether the log has got so far is not known here.
        """
        match = _CURSOR.fullmatch(cursor)
        position = int(match[1]) if match else None
        return position if position is not None and self.cursor_of(position) == cursor else None


def begin_term_steps(
    term: str, namespaces: Sequence[str], at: str, after: int | None = None
) -> tuple[Step, ...]:
    """What a writer that starts at the time `at` does first, in one transaction.

    A new term begins under the random id `term`, after the position `after` or else the head.  The floors of namespaces that
    are no longer kept go, or are marked where other instances may keep them; those of newly kept `namespaces` begin at the head.
    """
    return (
        Step("term_begin", {"id": term, "at": at, "after": after}),
        Step("floors_forget", {"namespaces": namespaces}),
        Step("floors_begin", {"namespaces": namespaces}),
    )
