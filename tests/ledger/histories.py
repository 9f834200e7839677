"""The histories of a log: one, unless the database went back under the running servers.

A backup that is restored, or a standby that is promoted without the latest
events, takes the end of the log away, and another history goes on from there.
Both are judged: what was delivered of the former one, and that whoever received
some of it was told before hearing of the other.
"""

from __future__ import annotations

from typing import Sequence

from attrs import define, field, frozen

from .health import HEALED_WITHIN
from .log import Entry, Log


@frozen
class Parting:
    """The log went back to position `kept` of `former`, its whole former history."""

    former: Log
    kept: int
    until: float  # seconds since the epoch; when every instance could see that
    takes_away: bool  # whether what was acknowledged may lie behind `kept`

    def has_ended(self, moment: float) -> bool:
        """Whether nobody may take the former history for the present one any more."""
        return moment > self.until + HEALED_WITHIN


@define(eq=False)
class Histories:
    """Those that parted, in order, and then the present one; each is named by its number."""

    present: Log
    partings: Sequence[Parting] = ()
    logs: Sequence[Log] = field(init=False)
    everything: frozenset[int] = field(init=False)
    _placed: dict[str, list[tuple[int, Entry]]] = field(factory=dict, init=False)  # by cursor

    def __attrs_post_init__(self) -> None:
        self.logs = [*(parting.former for parting in self.partings), self.present]
        self.everything = frozenset(range(len(self.logs)))
        for number, log in enumerate(self.logs):
            for entry in log.entries:
                self._placed.setdefault(entry.cursor, []).append((number, entry))

    @property
    def newest(self) -> int:
        return len(self.logs) - 1

    def find(self, cursor: str) -> Sequence[tuple[int, Entry]]:
        """The entries of that name, with the history that each is in; of one history, unless a name was given twice."""
        return self._placed.get(cursor, ())

    def stand(self, cursor: str | None) -> tuple[int, frozenset[int]] | None:
        """The position that `cursor` stands for, and in which histories; `None` when none has ever had it."""
        found = [(number, log.position(cursor)) for number, log in enumerate(self.logs)]
        known = [(number, position) for number, position in found if position is not None]
        if not known:
            return None
        position = known[-1][1]
        return position, frozenset(number for number, each in known if each == position)

    def over(self, numbers: frozenset[int], moment: float) -> bool:
        """Whether all of those histories had ended at that moment."""
        return all(
            number < len(self.partings) and self.partings[number].has_ended(moment) for number in numbers
        )

    def took_away(self, cursor: str, payload: str, answered: float) -> bool:
        """Whether this acknowledgement, given at that moment, is one that the fault may take away."""
        return any(
            number < len(self.partings)
            and entry.payload == payload
            and entry.position > self.partings[number].kept
            and self.partings[number].takes_away
            and not self.partings[number].has_ended(answered)
            for number, entry in self.find(cursor)
        )
