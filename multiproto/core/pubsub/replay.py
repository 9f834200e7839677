"""Reads the log for subscriptions that resume: from a cursor on, in pages that many readers share.

Ten thousand clients that reconnect after a restart ask for the same stretches
of the log; each is read once.  How much of one turn of the reactor all replays
together may use is bounded here, too.
"""

from __future__ import annotations

from typing import Awaitable, Mapping, TypeVar

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ...base.bounded_map import BoundedMap
from ...base.waiters import Waiters
from ..errors import Refusal
from ..ports import LogReader
from ..transactions import Page
from .dispatcher import Dispatcher
from .namespaces import Namespaces
from .topics import literal_prefix

T = TypeVar("T")

# Behind a list's cursor that is `before`: the row at the cursor belongs to the older ones.  Resuming begins after it.
INCLUDED = "~"
PAGE_SPAN = 1024  # positions; pages end at its multiples, wherever their readers began
# Positions; pages begin at its multiples, so that readers with cursors close together share them.
PAGE_ALIGNMENT = 64
MAX_CACHED_PAGES = 32  # pages, of at most a megabyte of text each
TURN_BUDGET = 0.01  # seconds of a turn that all replays may use


class ReplayPruned(Refusal):
    """The log does not reach back that far any more."""


PageKey = tuple[str, int, int]  # how its topics begin, and the positions it lies between


@define(eq=False, repr=False)
class ReplayReader:
    _log: LogReader
    _dispatcher: Dispatcher
    _namespaces: Namespaces
    _clock: IReactorTime
    _cached_pages: BoundedMap[PageKey, Page] = Factory(lambda: BoundedMap(MAX_CACHED_PAGES))
    _page_waiters: dict[tuple[PageKey, int], Waiters[Page]] = Factory(dict)  # of pages that are being read
    _floor_waiters: Waiters[Mapping[str, int]] = Factory(Waiters)
    _generation: int = 0  # how often the cached pages were invalidated
    _turn_waiters: Waiters[None] = Factory(Waiters)  # for a share of a turn
    _turn_scheduled: bool = False

    def __attrs_post_init__(self) -> None:
        self._dispatcher.on_withdrawal.append(self.invalidate)
        self._dispatcher.on_log_replaced.append(self.invalidate)

    def is_logged(self, pattern: str) -> bool:
        """Whether the log has any topic that `pattern` covers."""
        return bool(self._namespaces.overlapping(pattern))

    async def locate(self, pattern: str, cursor: str) -> int | None:
        """The position to resume from; `None` where some event of `pattern` after it may have been pruned.

        A list's cursor will do: its rows from before the log have positions before the first event's.
        """
        # Before the cursor is looked up: if the log has another history by now, this read notices.
        floors = await self._read_floors()
        position = await self._log.locate(cursor)
        if position is None:
            return None
        position = max(position, 0)
        return position if self._is_complete(pattern, position, floors) else None

    async def read_page(self, pattern: str, low: int, high: int) -> Page:
        """Entries after `low`, not beyond `high`, that `pattern` may cover.

        Raises `ReplayPruned` when some of them were pruned since `locate`.
        """
        page = await self._get_page(pattern, low - low % PAGE_ALIGNMENT, high)
        if page.end_position <= low:  # it was cut short
            page = await self._get_page(pattern, low, high)
        page = evolve(page, entries=tuple(entry for entry in page.entries if entry.position > low))
        if not self._is_complete(pattern, low, page.retention_floors):
            raise ReplayPruned("What was to be replayed is no longer kept")
        return page

    def _is_complete(self, pattern: str, position: int, floors: Mapping[str, int]) -> bool:
        """Whether no event that `pattern` covers was pruned after `position`."""
        return all(
            floors.get(namespace.match, 0) <= position for namespace in self._namespaces.overlapping(pattern)
        )

    async def _read_floors(self) -> Mapping[str, int]:
        """One read for all who ask while it is under way."""
        floors = self._floor_waiters.wait()
        if len(self._floor_waiters) == 1:
            read = Deferred.fromCoroutine(_as_coroutine(self._log.retention_floors()))
            read.addCallbacks(self._floor_waiters.release, self._floor_waiters.fail)
        return await floors

    async def _get_page(self, pattern: str, low: int, high: int) -> Page:
        key = literal_prefix(pattern), low, min(high, (low // PAGE_SPAN + 1) * PAGE_SPAN)
        cached = self._cached_pages.get(key)
        if cached is not None:
            return cached
        reading = key, self._generation
        is_first = reading not in self._page_waiters
        page = self._page_waiters.setdefault(reading, Waiters()).wait()
        if is_first:
            Deferred.fromCoroutine(self._load_page(*reading)).addErrback(self._load_failed, reading)
        return await page

    def wait_for_turn(self) -> Deferred[None]:
        """Fires when there is time to send a few more entries, and the log is not stale."""
        freshness = self._dispatcher.freshness
        if freshness is not None and freshness.is_stale:
            return freshness.when_current().addCallback(lambda _: self.wait_for_turn())
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._clock.callLater(0, self._grant_turns)
        return self._turn_waiters.wait()

    def invalidate(self) -> None:
        """Drop all cached pages: withdrawn content must not be replayed from one that was read before."""
        self._cached_pages.clear()
        self._generation += 1  # and nobody asks from now on for a page that is being read already

    async def _load_page(self, key: PageKey, generation: int) -> None:
        page = await self._log.read_page(*key)
        if generation == self._generation:
            self._cached_pages.put(key, page)
        self._page_waiters.pop((key, generation)).release(page)

    def _load_failed(self, failure: Failure, reading: tuple[PageKey, int]) -> None:
        self._page_waiters.pop(reading).fail(failure)

    def _grant_turns(self) -> None:
        """One share for each that waits now, as far as the budget goes."""
        ends = self._clock.seconds() + TURN_BUDGET
        for _ in range(len(self._turn_waiters)):
            self._turn_waiters.release_first(None)
            if self._clock.seconds() >= ends:
                break
        self._turn_scheduled = bool(self._turn_waiters)
        if self._turn_scheduled:
            self._clock.callLater(0, self._grant_turns)


async def _as_coroutine(answer: Awaitable[T]) -> T:
    return await answer
