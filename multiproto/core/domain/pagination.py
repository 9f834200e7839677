"""Pages of lists: by number, or on either side of a cursor (docs/common.md#lists).

A number counts from the newest row, so what comes or goes meanwhile shifts all
pages.  A cursor names a place that stays where it is, whether or not its row is
still there: who goes on from page to page by cursors misses no row, and has none
twice.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Mapping, Sequence, TypeVar

from attrs import frozen

from ..errors import NotFound
from ..model import PageOf
from ..ports import Store
from ..pubsub.replay import INCLUDED
from ..transactions import Query, Row
from ..validation import FieldValidator, paging

T = TypeVar("T")

_END = 2**63 - 1  # a position behind all rows
_BEGIN = -(10**18 - 1)  # one before all rows, which a cursor can name

Locate = Callable[
    [str], Awaitable[int | None]
]  # gives the position that a cursor names; `None` for what is no cursor
CursorsOf = Callable[[Sequence[int]], Sequence[str]]  # gives the cursors that name these positions


@frozen
class PageRequest:
    """Which page of a list is asked for: by its number, or the rows next to a cursor."""

    page: int  # from 1
    limit: int  # rows
    cursor: str | None = None
    position: int = _END  # that of `cursor`
    is_after: bool = False  # whether it is the rows after `cursor`, which are newer; else those before it

    @classmethod
    async def parse(cls, form: FieldValidator, locate: Locate) -> PageRequest:
        """From `page`, `limit`, `before` and `after`; faults are left in `form`."""
        page, limit = paging(form)
        asked = [field for field in ("before", "after") if form.has(field)]
        if not asked:
            return cls(page, limit)
        if page != 1:  # which is the default that GraphQL fills in
            form.add_error("page", "Goes without before and after")
        if len(asked) > 1:
            form.add_error("after", "Goes without before")
        field = asked[0]
        cursor, is_after = form.optional_text(field) or "", field == "after"
        # The newest row has no later cursor that it would be before.
        is_included = not is_after and cursor.endswith(INCLUDED)
        name = cursor.removesuffix(INCLUDED) if is_included else cursor
        position = await locate(name) if isinstance(form.value(field), str) else 0
        if position is None:
            form.add_error(field, "Is no cursor of this list; without it, the list begins with the newest")
        return cls(1, limit, cursor, (position or 0) + is_included, is_after)

    def queries(self, name: str, suffix: str, filters: Mapping[str, object]) -> Sequence[Query]:
        """Those of the page, of the size of the list, and of what lies on the other side of the cursor.

        `name` and `suffix` are the ends of the statements' names.
        """
        count = Query(f"{name}_count{suffix}", filters)

        def rows(direction: str, bound: int, limit: int, offset: int = 0) -> Query:
            params = {**filters, "bound": bound, "limit": limit, "offset": offset}
            return Query(f"{name}_{direction}{suffix}", params)

        if self.cursor is None:
            return rows("page", _END, self.limit, (self.page - 1) * self.limit), count
        # One row more tells whether there are any behind the page.
        if self.is_after:
            return (
                rows("page_after", self.position, self.limit + 1),
                count,
                rows("page", self.position + 1, 1),
            )
        return rows("page", self.position, self.limit + 1), count, rows("page_after", self.position - 1, 1)

    async def read(
        self,
        store: Store,
        name: str,
        suffix: str,
        filters: Mapping[str, object],
        from_row: Callable[[Row], T],
        owner: str | None = None,
    ) -> PageOf[T]:
        """The page of one list whose positions are the log's.

        Raises `NotFound` where there is no user `owner`, whose list it is.
        """
        queries = self.queries(name, suffix, filters)
        users = [] if owner is None else [Query("users_by_ids", {"ids": [owner]})]
        snapshot = await store.read(*queries, *users)
        rows, count, *behind = snapshot.results[: len(queries)]
        if owner is not None and not snapshot.results[-1]:
            raise NotFound.of("User", owner)
        return self.build_page(
            rows, count[0]["total"], any(behind), from_row, store.cursors_of, snapshot.cursor
        )

    def build_page(
        self,
        rows: Sequence[Row],
        total: int,
        is_anything_behind: bool,
        from_row: Callable[[Row], T],
        cursors_of: CursorsOf,
        cursor: str | None,
    ) -> PageOf[T]:
        """The page from what `queries` gave: `is_anything_behind` is whether the last of them found a row.

        `cursor` is that of the snapshot, `cursors_of` gives those of positions.
        """
        shown, has_more = rows[: self.limit], len(rows) > self.limit
        if self.cursor is None:
            has_older, has_newer = self.page * self.limit < total, self.page > 1
        elif self.is_after:
            shown, has_older, has_newer = shown[::-1], is_anything_behind, has_more
        else:
            has_older, has_newer = has_more, is_anything_behind
        positions = [row["position"] for row in shown]
        return PageOf(
            tuple(map(from_row, shown)),
            self.page,
            self.limit,
            total,
            has_older,
            has_newer,
            before=self._before(cursors_of, positions) if has_older else None,
            after=self._after(cursors_of, positions, cursor if total == 0 else None),
            cursor=cursor,
            item_cursors=lambda: cursors_of(positions),
        )

    def _before(self, cursors_of: CursorsOf, positions: Sequence[int]) -> str:
        """The cursor to go on before, from a page with these `positions` that older rows follow.

        Without rows, it is a page after a cursor.
        """
        return cursors_of(positions[-1:])[0] if positions else f"{self.cursor}{INCLUDED}"

    def _after(self, cursors_of: CursorsOf, positions: Sequence[int], cursor: str | None) -> str | None:
        """The cursor to go on after, likewise; `cursor` is that of the snapshot where the list is empty."""
        if positions:
            return cursors_of(positions[:1])[0]
        if self.cursor is None:
            return cursor or cursors_of([_BEGIN])[0]  # behind the last page, all rows are newer
        return self.cursor if self.is_after else cursors_of([self.position - 1])[0]
