"""What is read from the store, each time in one snapshot.

Other instances begin terms too.  Each answer comes with the number of the
newest term in its own snapshot, so a position is never named by a term that was
over before it was written.

Nor is anything read of another history than the one that this process knows:
each answer says whether the newest head that was known before is there.  If not,
the reads wait until the writer has found out where the histories part.
"""

from __future__ import annotations

from typing import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime

from ...base.waiters import Waiters
from ...core.errors import Unavailable
from ...core.transactions import Entry, Page, Query, Row, Snapshot
from ..cursors import Terms
from ..erasures import PendingErasures
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
from .heads import NO_HEAD, Head, KnownHeads
from .read_queue import QUEUE_TIMEOUT, PostgresReadQueue
from .statements import PreparedStatement

MAX_ATTEMPTS = 3  # of a read whose history is replaced meanwhile


@define(eq=False, repr=False)
class PostgresReader:
    """All that can be read, on whichever connection of the queue is free."""

    _queue: PostgresReadQueue
    _statements: Mapping[str, PreparedStatement]
    _clock: IReactorTime
    newest: int = 0  # position of the head, as far as it was seen
    terms: Terms = Terms(())
    term_ids: frozenset[str] = frozenset()  # of all terms, also those without a position
    newest_term_number: int = 0  # number of the newest of `terms`
    heads: KnownHeads = field(factory=KnownHeads)
    settle_history: Callable[[], object] = lambda: None  # called when the newest known head is not there
    _history_waiters: Waiters[None] = field(factory=Waiters, init=False)  # until that is settled

    async def snapshot(self, queries: Sequence[Query]) -> Snapshot:
        position, results = await self._execute(*queries)
        return Snapshot(tuple(results), self.terms.cursor_of(position))

    async def head(self) -> tuple[int, str]:
        position, _ = await self._execute()
        return position, self.terms.cursor_of(position)

    async def read_after(self, position: int, limit: int) -> tuple[Entry, ...]:
        after = Query("log_after", {"position": position, "limit": limit})
        _, (rows,) = await self._execute(after)
        if not rows or not rows[0]["erasing"]:
            return tuple(entry_from_row(row, self.terms) for row in rows)
        # In a later snapshot more is pending, or is erased.
        _, (rows, pending) = await self._execute(after, Query("erasures_pending"))
        erasures = PendingErasures.from_rows(pending)
        return tuple(erasures.apply(entry_from_row(row, self.terms)) for row in rows)

    async def read_page(self, lead: str, low: int, high: int) -> Page:
        _, (scanned,) = await self._execute(scan_query(low, high))
        high = scan_end(scanned, high)
        limits = {"text": PAGE_MAX_BYTES, "most": PAGE_MAX_ENTRIES}  # the server, too, stops there
        params = {"lead": json_prefix(lead), "low": low, "high": high, **limits}
        _, (rows, floors, pending) = await self._execute(
            Query("log_page", params), Query("floors_all"), Query("erasures_pending")
        )
        page = PageBuilder(lead, high, self.terms, PendingErasures.from_rows(pending))
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
        if rows[-1]["number"] > self.newest_term_number:
            self._set_terms(rows)

    def replace_history(self, head: Head, terms: Sequence[Row]) -> None:
        """The log has another history, which ends with `head` and has these `terms`."""
        self.heads.replace(head)
        self.newest = head.position
        self._set_terms(terms)

    def reconnect(self) -> None:
        """Close all connections, which are made anew."""
        self._queue.reconnect()
        self.history_settled()

    def history_settled(self) -> None:
        """The history is known again: let the reads that wait for that go on."""
        self._history_waiters.release(None)

    def _set_terms(self, rows: Sequence[Row]) -> None:
        self.terms = Terms.from_rows(rows)
        self.term_ids = frozenset(row["id"] for row in rows)
        self.newest_term_number = rows[-1]["number"]

    async def _execute(self, *queries: Query) -> tuple[int, list[tuple[Row, ...]]]:
        """The head's position and the rows of each of `queries`, in one snapshot.  Raises `Unavailable`."""
        for _ in range(MAX_ATTEMPTS):
            known, generation = self.heads.newest, self.heads.generation
            head, *results = await self._queue.execute(
                [
                    StatementCall(self._statements[query.name], query.params)
                    for query in (Query("log_head", {"known": known.number}), *queries)
                ]
            )
            if not head.rows:
                continue  # it waited while a backup was restored, and to its snapshot the new tables are empty
            (row,) = head.rows
            if generation != self.heads.generation:
                continue  # it may be of the history before
            if known is not NO_HEAD and row["known"] != known.mark:
                await self._wait_for_history()
                continue
            if row["number"] > known.number:
                self.heads.observe(Head.from_row(row))
            if row["term"] > self.newest_term_number:
                (found,) = await self._queue.execute([StatementCall(self._statements["terms_all"])])
                if generation != self.heads.generation:
                    continue
                self.update_terms(found.rows)
            self.newest = max(self.newest, row["position"])
            return row["position"], [result.rows for result in results]
        raise Unavailable("The database has another history than this instance knew; try again soon")

    async def _wait_for_history(self) -> None:
        """Return once the writer has compared the histories."""
        settled = self._history_waiters.wait()
        self.settle_history()
        try:
            await settled.addTimeout(QUEUE_TIMEOUT, self._clock)
        except TimeoutError:
            raise Unavailable("The database was replaced by another; try again soon") from None
