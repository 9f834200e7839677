"""The log as those who resume read it: from where on, and in pages that many share.

Ten thousand clients that come back after a restart ask for the same stretches
of the log; each is read once.  How much of one turn of the reactor all of them
together may take is bounded here too.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Awaitable, Deque, Mapping, TypeVar

from attrs import Factory, define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ..errors import Refusal
from ..ports import LogReader
from ..transactions import Page
from .dispatcher import Dispatcher
from .namespaces import Namespaces
from .topics import literal_prefix

T = TypeVar("T")

PAGE_SPAN = 1024  # positions; pages end at its multiples, wherever their readers began
PAGE_ALIGNMENT = (
    64  # positions; pages begin at its multiples, so that those who left off near each other share them
)
MAX_CACHED_PAGES = 32  # pages, of at most a megabyte of text each
TURN_BUDGET = 0.01  # seconds of a turn that catching up may take


class ReplayPruned(Refusal):
    """The log does not reach back that far any more."""


PageKey = tuple[str, int, int]  # how its topics begin, and the positions it lies between


@define(eq=False, repr=False)
class ReplayReader:
    _log: LogReader
    _dispatcher: Dispatcher
    _namespaces: Namespaces
    _clock: IReactorTime
    _cached_pages: OrderedDict[PageKey, Page] = Factory(OrderedDict)
    _page_waiters: dict[tuple[PageKey, int], list[Deferred[Page]]] = Factory(dict)  # and who waits for them
    _floor_waiters: list[Deferred[Mapping[str, int]]] = Factory(list)  # for the floors
    _generation: int = 0  # how often
    _turn_waiters: Deque[Deferred[None]] = Factory(deque)  # for a share of a turn
    _turn_scheduled: bool = False  # one is to come

    def __attrs_post_init__(self) -> None:
        self._dispatcher.on_withdrawal.append(self.invalidate)

    def is_logged(self, pattern: str) -> bool:
        """Whether the log has any topic that `pattern` covers."""
        return bool(self._namespaces.overlapping(pattern))

    async def locate(self, pattern: str, cursor: str) -> int | None:
        """The position to go on from; `None` where something of `pattern` behind it may be lost."""
        position = await self._log.locate(cursor)
        if position is None:
            return None
        return position if self._is_complete(pattern, position, await self._read_floors()) else None

    async def read_page(self, pattern: str, low: int, high: int) -> Page:
        """Entries behind `low`, not beyond `high`, that `pattern` may cover.

        Raises `ReplayPruned` when some of them were, since `locate` was asked.
        """
        page = await self._get_page(pattern, low - low % PAGE_ALIGNMENT, high)
        if page.end_position <= low:  # it was cut short
            page = await self._get_page(pattern, low, high)
        page = evolve(page, entries=tuple(entry for entry in page.entries if entry.position > low))
        if not self._is_complete(pattern, low, page.retention_floors):
            raise ReplayPruned("What was to be replayed is no longer kept")
        return page

    def _is_complete(self, pattern: str, position: int, floors: Mapping[str, int]) -> bool:
        """Whether nothing that `pattern` covers is missing behind `position`."""
        return all(floors.get(each.match, 0) <= position for each in self._namespaces.overlapping(pattern))

    async def _read_floors(self) -> Mapping[str, int]:
        """One look for all who ask while it is under way."""
        asked: Deferred[Mapping[str, int]] = Deferred()
        self._floor_waiters.append(asked)
        if len(self._floor_waiters) == 1:
            looked = Deferred.fromCoroutine(_as_coroutine(self._log.retention_floors()))
            looked.addBoth(self._resolve_floors)
        return await asked

    def _resolve_floors(self, floors: Mapping[str, int] | Failure) -> None:
        asking, self._floor_waiters = self._floor_waiters, []
        for asked in asking:
            asked.callback(floors)  # a failure too

    async def _get_page(self, pattern: str, low: int, high: int) -> Page:
        stretch = literal_prefix(pattern), low, min(high, (low // PAGE_SPAN + 1) * PAGE_SPAN)
        if stretch in self._cached_pages:
            self._cached_pages.move_to_end(stretch)
            return self._cached_pages[stretch]
        page: Deferred[Page] = Deferred()
        reading = stretch, self._generation
        self._page_waiters.setdefault(reading, []).append(page)
        if len(self._page_waiters[reading]) == 1:
            Deferred.fromCoroutine(self._load_page(*reading)).addErrback(self._load_failed, reading)
        return await page

    def wait_for_turn(self) -> Deferred[None]:
        """Fires when there is time to send a little more, and we are not blind."""
        sight = self._dispatcher.freshness
        if sight is not None and sight.is_stale:
            return sight.when_current().addCallback(lambda _: self.wait_for_turn())
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._clock.callLater(0, self._grant_turns)
        share: Deferred[None] = Deferred()
        self._turn_waiters.append(share)
        return share

    def invalidate(self) -> None:
        """What was withdrawn must not be replayed from a page that was read before."""
        self._cached_pages.clear()
        self._generation += 1  # who asks from now on waits for no page that is being read already

    async def _load_page(self, stretch: PageKey, forgot: int) -> None:
        page = await self._log.read_page(*stretch)
        if forgot == self._generation:
            self._cached_pages[stretch] = page
            while len(self._cached_pages) > MAX_CACHED_PAGES:
                self._cached_pages.popitem(last=False)
        for each in self._page_waiters.pop((stretch, forgot)):
            each.callback(page)

    def _load_failed(self, failure: Failure, reading: tuple[PageKey, int]) -> None:
        for each in self._page_waiters.pop(reading):
            each.errback(failure)

    def _grant_turns(self) -> None:
        """One share for each who waits now, as far as the time goes."""
        ends = self._clock.seconds() + TURN_BUDGET
        for _ in range(len(self._turn_waiters)):
            self._turn_waiters.popleft().callback(None)
            if self._clock.seconds() >= ends:
                break
        self._turn_scheduled = bool(self._turn_waiters)
        if self._turn_scheduled:
            self._clock.callLater(0, self._grant_turns)


async def _as_coroutine(answer: Awaitable[T]) -> T:
    return await answer
