"""The log as this instance reads it, and how its positions are named.

Other instances begin terms too.  Each answer comes with the number of the
newest one in its own snapshot, so a position is never named by a term that was
over before it was written.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from attrs import define

from ...core.transactions import Entry, Page, Query, Row, Snapshot
from ..cursors import Term, Terms
from ..rows import PAGE_MAX_CHARACTERS, PAGE_MAX_ENTRIES, PAGE_MAX_SCANNED, entry_from_row, json_prefix
from .connection import StatementCall, StatementResult
from .read_queue import PostgresReadQueue
from .statements import PreparedStatement


@define(eq=False, repr=False)
class PostgresReader:
    _queue: PostgresReadQueue
    _statements: Mapping[str, PreparedStatement]
    newest: int = 0  # position of the head, as far as it was seen
    terms: Terms = Terms(())
    newest_term_number: int = 0  # number of the newest of `terms`

    async def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position, results = await self._query(*((query.name, query.params) for query in queries))
        return Snapshot(tuple(result.rows for result in results), self.terms.cursor_of(position))

    async def head(self) -> tuple[int, str]:
        position, _ = await self._query()
        return position, self.terms.cursor_of(position)

    async def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        _, (found,) = await self._query(("log_after", {"position": position, "limit": limit}))
        return tuple(entry_from_row(row, self.terms) for row in found.rows)

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        upto = await self._scan_end(low, high)
        params = {
            "lead": json_prefix(lead),
            "low": low,
            "high": upto,
            "text": PAGE_MAX_CHARACTERS,
            "most": PAGE_MAX_ENTRIES,
        }
        _, (found, floors) = await self._query(("log_page", params), ("floors_all", {}))
        entries = [entry_from_row(row, self.terms) for row in found.rows]
        if _reached_page_limit(found.rows):
            upto = entries[-1].position
        matching = (entry for entry in entries if any(topic.startswith(lead) for topic in entry.event.topics))
        return Page(tuple(matching), upto, _floors_from_rows(floors))

    async def retention_floors(self) -> Mapping[str, int]:
        _, (found,) = await self._query(("floors_all", {}))
        return _floors_from_rows(found)

    async def locate(self, cursor: str) -> int | None:
        """Asks the database only for a cursor ahead of what was seen: thousands may resume at once."""
        position = self.terms.position_of(cursor)
        if position is not None and position <= self.newest:
            return position
        head, (found,) = await self._query(("terms_all", {}))
        self.update_terms(found)
        position = self.terms.position_of(cursor)
        return position if position is not None and position <= head else None

    def update_terms(self, found: StatementResult) -> None:
        """All the terms there are."""
        if len(found.rows) > len(self.terms.ordered):
            self.terms = Terms(tuple(Term(row["id"], row["first_position"]) for row in found.rows))
            self.newest_term_number = found.rows[-1]["number"]

    async def _scan_end(self, low: int, high: int) -> int:
        """How far one page may look: positions that were pruned cost nothing."""
        params = {"low": low, "high": high, "most": PAGE_MAX_SCANNED}
        _, (found,) = await self._query(("log_stretch", params))
        return int(found.rows[0]["position"]) if found.rows else high

    async def _query(self, *queries: tuple[str, Mapping[str, object]]) -> tuple[int, list[StatementResult]]:
        """The head's position and what `queries` give, in one snapshot."""
        calls = [
            StatementCall(self._statements[name], params) for name, params in [("standing", {}), *queries]
        ]
        standing, *results = await self._queue.execute(calls)
        (row,) = standing.rows
        if row["term"] > self.newest_term_number:
            (found,) = await self._queue.execute([StatementCall(self._statements["terms_all"])])
            self.update_terms(found)
        self.newest = max(self.newest, row["position"])
        return row["position"], results


def _reached_page_limit(rows: Sequence[Row]) -> bool:
    """Whether the page ended for its size."""
    text = sum(len(row["content"]) + len(row["metadata"] or "") for row in rows)
    return len(rows) == PAGE_MAX_ENTRIES or text >= PAGE_MAX_CHARACTERS


def _floors_from_rows(found: StatementResult) -> Mapping[str, int]:
    return {row["namespace"]: row["position"] for row in found.rows}
