"""How a position of the log is named to clients.

A cursor is the position with the term it was written in.  A term begins
whenever a writer starts, under a random id, so that a log restored from a
backup, which goes on from an earlier position, gives no cursor a second meaning.
"""

from __future__ import annotations

import re
from bisect import bisect_right

from attrs import frozen

_CURSOR = re.compile(r"[^.]+\.([0-9]{1,18})")  # so many digits fit every engine's integers


@frozen
class Term:
    id: str  # random
    first_position: int  # the first position that may be written in it


@frozen
class Terms:
    """All terms of a log, in the order they began; at least one."""

    ordered: tuple[Term, ...]

    def cursor_of(self, position: int) -> str:
        """The opaque, URL-safe name of `position_of`; always the same for one entry.

        Of terms with the same first position all but the last wrote nothing.
        Position 0, before the first entry, belongs to the first term.
        """
        later = bisect_right(self.ordered, position, key=lambda term: term.first_position)
        return f"{self.ordered[max(later - 1, 0)].id}.{position}"

    def position_of(self, cursor: str) -> int | None:
        """What `cursor_of` is the name of, for any text; `None` when it is not the name of any position.

        A name outlives its position only in a restored backup, where a later term has begun at or
        before that position and given it another name.  Whether the log has got so far is not known here.
        """
        match = _CURSOR.fullmatch(cursor)
        position = int(match[1]) if match else None
        return position if position is not None and self.cursor_of(position) == cursor else None
