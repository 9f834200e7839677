"""What is read from the store, each time in one snapshot.

Other instances begin terms too.  Each answer comes with the number of the
newest term in its own snapshot, so a position is never named by a term that was
over before it was written.
"""

from __future__ import annotations

from typing import Mapping, Sequence

from attrs import define

from ...core.transactions import Entry, Page, Query, Row, Snapshot
from ..cursors import Terms
from ..pages import (
    PAGE_MAX_BYTES,
    PAGE_MAX_ENTRIES,
    PageBuilder,
    floors_from_rows,
    json_prefix,
    scan_end,
    scan_query,
)
from ..rows import entry_from_row
from .connection import StatementCall
from .read_queue import PostgresReadQueue
from .statements import PreparedStatement


@define(eq=False, repr=False)
class PostgresReader:
    """All that can be read, on whichever connection of the queue is free."""

    _queue: PostgresReadQueue
    _statements: Mapping[str, PreparedStatement]
    newest: int = 0  # position of the head, as far as it was seen
    terms: Terms = Terms(())
    newest_term_number: int = 0  # number of the newest of `terms`

    async def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position, results = await self._execute(*queries)
        return Snapshot(tuple(results), self.terms.cursor_of(position))

    async def head(self) -> tuple[int, str]:
        position, _ = await self._execute()
        return position, self.terms.cursor_of(position)

    async def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        _, (rows,) = await self._execute(Query("log_after", {"position": position, "limit": limit}))
        return tuple(entry_from_row(row, self.terms) for row in rows)

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        _, (scanned,) = await self._execute(scan_query(low, high))
        high = scan_end(scanned, high)
        limits = {"text": PAGE_MAX_BYTES, "most": PAGE_MAX_ENTRIES}  # the server, too, stops there
        params = {"lead": json_prefix(lead), "low": low, "high": high, **limits}
        _, (rows, floors) = await self._execute(Query("log_page", params), Query("floors_all"))
        page = PageBuilder(lead, high, self.terms)
        for row in rows:
            page.add(row)
        return page.build(floors_from_rows(floors))

    async def retention_floors(self) -> Mapping[str, int]:
        _, (rows,) = await self._execute(Query("floors_all"))
        return floors_from_rows(rows)

    async def locate(self, cursor: str) -> int | None:
        head, (rows,) = await self._execute(Query("terms_all"))
        self.update_terms(rows)
        position = self.terms.position_of(cursor)
        return position if position is not None and position <= head else None

    def update_terms(self, rows: Sequence[Row]) -> None:
        """`rows` are all terms at some moment; those of an earlier moment than is known change nothing."""
        if len(rows) > len(self.terms.ordered):
            self.terms = Terms.from_rows(rows)
            self.newest_term_number = rows[-1]["number"]

    async def _execute(self, *queries: Query) -> tuple[int, list[tuple[Row, ...]]]:
        """The head's position and the rows of each of `queries`, in one snapshot."""
        calls = [
            StatementCall(self._statements[query.name], query.params)
            for query in (Query("log_head"), *queries)
        ]
        head, *results = await self._queue.execute(calls)
        (row,) = head.rows
        if row["term"] > self.newest_term_number:
            (found,) = await self._queue.execute([StatementCall(self._statements["terms_all"])])
            self.update_terms(found.rows)
        self.newest = max(self.newest, row["position"])
        return row["position"], [result.rows for result in results]
