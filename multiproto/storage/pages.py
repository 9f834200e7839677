"""How much of the log one page holds, the same on every engine.

A client that resumes reads the log page by page.  A page has limits on the entries
scanned, the entries found, and their size, so that one read takes bounded time and
memory.
"""

from __future__ import annotations

from typing import Iterable, Mapping, Sequence

from attrs import define, field

from ..base import strict_json
from ..core.transactions import Entry, Page, Query, Row
from .cursors import Terms
from .erasures import PendingErasures
from .rows import entry_from_row

# Where a page ends, whichever comes first.
PAGE_MAX_SCANNED = 4096  # entries of the log, whether or not they match
PAGE_MAX_ENTRIES = 1024
PAGE_MAX_BYTES = 1 << 20  # of content and metadata in UTF-8; the last entry may exceed it


def scan_query(low: int, high: int) -> Query:
    """Finds where a page that begins behind `low` has scanned enough; entries that were pruned cost nothing."""
    return Query("log_stretch", {"low": low, "high": high, "most": PAGE_MAX_SCANNED})


def scan_end(rows: Sequence[Row], high: int) -> int:
    """The position that `scan_query` found; `high` if so much may be scanned."""
    return int(rows[0]["position"]) if rows else high


def json_prefix(lead: str) -> str:
    """`lead` as it begins within a JSON array of topics: without the closing quote."""
    return strict_json.dumps(lead).decode()[:-1]


def floors_from_rows(rows: Iterable[Row]) -> Mapping[str, int]:
    """What `floors_all` gives: namespace -> position."""
    return {row["namespace"]: row["position"] for row in rows}


@define(eq=False, repr=False)
class PageBuilder:
    """Collects the rows of one page with a topic that begins with `lead`."""

    _lead: str
    _end_position: int  # where the page ends unless it is full before
    _terms: Terms
    _erasures: PendingErasures
    _entries: list[Entry] = field(factory=list, init=False)
    _rows: int = field(default=0, init=False)
    _bytes: int = field(default=0, init=False)

    def add(self, row: Row) -> bool:
        """Add the next row of the log; False when no other one has room."""
        entry = self._erasures.apply(entry_from_row(row, self._terms))
        if not entry.redacted and any(topic.startswith(self._lead) for topic in entry.event.topics):
            self._entries.append(entry)
        self._rows += 1
        self._bytes += _utf8_size(row["content"]) + _utf8_size(row["metadata"] or "")
        is_full = self._rows >= PAGE_MAX_ENTRIES or self._bytes >= PAGE_MAX_BYTES
        if is_full:
            self._end_position = entry.position
        return not is_full

    def build(self, floors: Mapping[str, int]) -> Page:
        return Page(tuple(self._entries), self._end_position, floors)


def _utf8_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
