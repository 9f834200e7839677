"""What this process has just written to the log, for whoever follows it: not read again from the disk.

Only what a reader would find there now: as soon as anything else is done to the
log, what was remembered is forgotten, and the disk is asked.

Bought, in CPU of POST /api/v1/messages: 280 to 250 µs
(docs/decisions/024-the-log-from-memory.md).
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence

from attrs import Factory, define

from ...core.transactions import Entry, Unit

MAX_ENTRIES = 500  # entries; who follows is that far behind only while it has too much to tell


@define(eq=False, repr=False)
class RecentEntries:
    _entries: Deque[Entry] = Factory(deque)  # without a gap, up to the head

    def add(self, entries: Sequence[Entry], units: Sequence[Unit]) -> None:
        """`units` were committed, and `entries` are what the log grew by."""
        if self._entries and entries and entries[0].position != self._entries[-1].position + 1:
            self._entries.clear()  # a commit that was said to have failed had not
        self._entries += entries
        if len(self._entries) > MAX_ENTRIES or any(map(_modifies_log, units)):
            self._entries.clear()

    def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        """What is behind `position`, which nobody asks for again; nothing where that is not known here."""
        entries = self._entries
        while entries and entries[0].position <= position:
            entries.popleft()
        if not entries or entries[0].position != position + 1:
            return ()
        return tuple(entries)[:limit]


def _modifies_log(unit: Unit) -> bool:
    """Whether it does more than append."""
    return any(step.name.startswith("log_") for step in unit.steps)
