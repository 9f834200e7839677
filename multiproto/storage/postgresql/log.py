"""The log as this instance reads it, and how its positions are named.

Other instances begin terms too.  Each answer comes with the number of the
newest one in its own snapshot, so a position is never named by a term that was
over before it was written.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from attrs import define

from ...core.ports import Entry, Page, Query, Row, Snapshot
from ..cursors import Term, Terms
from ..rows import PAGE_ENTRIES, PAGE_SCANNED, PAGE_TEXT, entry_of, quoted_lead
from .line import Call, Result
from .reads import Reads
from .statements import Statement


@define(eq=False, repr=False)
class Log:
    _reads: Reads
    _statements: Mapping[str, Statement]
    newest: int = 0  # position of the head, as far as it was seen
    terms: Terms = Terms(())
    term: int = 0  # number of the newest of `terms`

    async def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position, results = await self._ask(*((query.name, query.params) for query in queries))
        return Snapshot(tuple(result.rows for result in results), self.terms.cursor(position))

    async def head(self) -> tuple[int, str]:
        position, _ = await self._ask()
        return position, self.terms.cursor(position)

    async def after(self, position: int, limit: int) -> tuple[Entry, ...]:
        _, (found,) = await self._ask(("log_after", {"position": position, "limit": limit}))
        return tuple(entry_of(row, self.terms) for row in found.rows)

    async def page(self, lead: str, low: int, high: int) -> Page:
        upto = await self._end_of_stretch(low, high)
        params = {
            "lead": quoted_lead(lead),
            "low": low,
            "high": upto,
            "text": PAGE_TEXT,
            "most": PAGE_ENTRIES,
        }
        _, (found, floors) = await self._ask(("log_page", params), ("floors_all", {}))
        entries = [entry_of(row, self.terms) for row in found.rows]
        if _cut_short(found.rows):
            upto = entries[-1].position
        matching = (entry for entry in entries if any(topic.startswith(lead) for topic in entry.event.topics))
        return Page(tuple(matching), upto, _floors(floors))

    async def floors(self) -> Mapping[str, int]:
        _, (found,) = await self._ask(("floors_all", {}))
        return _floors(found)

    async def locate(self, cursor: str) -> int | None:
        """Asks the database only for a cursor ahead of what was seen: thousands may resume at once."""
        position = self.terms.position(cursor)
        if position is not None and position <= self.newest:
            return position
        head, (found,) = await self._ask(("terms_all", {}))
        self.learn(found)
        position = self.terms.position(cursor)
        return position if position is not None and position <= head else None

    def learn(self, found: Result) -> None:
        """All the terms there are."""
        if len(found.rows) > len(self.terms.began):
            self.terms = Terms(tuple(Term(row["id"], row["first_position"]) for row in found.rows))
            self.term = found.rows[-1]["number"]

    async def _end_of_stretch(self, low: int, high: int) -> int:
        """How far one page may look: positions that were pruned cost nothing."""
        params = {"low": low, "high": high, "most": PAGE_SCANNED}
        _, (found,) = await self._ask(("log_stretch", params))
        return int(found.rows[0]["position"]) if found.rows else high

    async def _ask(self, *queries: tuple[str, Mapping[str, object]]) -> tuple[int, list[Result]]:
        """The head's position and what `queries` give, in one snapshot."""
        calls = [Call(self._statements[name], params) for name, params in [("standing", {}), *queries]]
        standing, *results = await self._reads.ask(calls)
        (row,) = standing.rows
        if row["term"] > self.term:
            (found,) = await self._reads.ask([Call(self._statements["terms_all"])])
            self.learn(found)
        self.newest = max(self.newest, row["position"])
        return row["position"], results


def _cut_short(rows: Sequence[Row]) -> bool:
    """Whether the page ended for its size."""
    text = sum(len(row["content"]) + len(row["metadata"] or "") for row in rows)
    return len(rows) == PAGE_ENTRIES or text >= PAGE_TEXT


def _floors(found: Result) -> Mapping[str, int]:
    return {row["namespace"]: row["position"] for row in found.rows}
