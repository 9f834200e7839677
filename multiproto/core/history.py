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

from .audience import Audience
from .errors import Refusal
from .namespaces import Namespaces
from .ports import Log, Page
from .topics import lead

T = TypeVar("T")

STRETCH = 1024  # positions; pages end at its multiples, wherever their readers began
GRAIN = 64  # positions; pages begin at its multiples, so that those who left off near each other share them
KEPT = 32  # pages, of at most a megabyte of text each
SLICE = 0.01  # seconds of a turn that catching up may take


class Pruned(Refusal):
    """The log does not reach back that far any more."""


Stretch = tuple[str, int, int]  # how its topics begin, and the positions it lies between


@define(eq=False, repr=False)
class History:
    _log: Log
    _audience: Audience
    _namespaces: Namespaces
    _clock: IReactorTime
    _pages: OrderedDict[Stretch, Page] = Factory(OrderedDict)
    _reading: dict[tuple[Stretch, int], list[Deferred[Page]]] = Factory(dict)  # and who waits for them
    _asking: list[Deferred[Mapping[str, int]]] = Factory(list)  # for the floors
    _forgot: int = 0  # how often
    _waiting: Deque[Deferred[None]] = Factory(deque)  # for a share of a turn
    _sharing: bool = False  # one is to come

    def __attrs_post_init__(self) -> None:
        self._audience.forgetters.append(self.forget)

    def keeps(self, pattern: str) -> bool:
        """Whether the log has any topic that `pattern` covers."""
        return bool(self._namespaces.over(pattern))

    async def locate(self, pattern: str, cursor: str) -> int | None:
        """The position to go on from; `None` where something of `pattern` behind it may be lost."""
        position = await self._log.locate(cursor)
        if position is None:
            return None
        return position if self._whole(pattern, position, await self._shared_floors()) else None

    async def page(self, pattern: str, low: int, high: int) -> Page:
        """Entries behind `low`, not beyond `high`, that `pattern` may cover.

        Raises `Pruned` when some of them were, since `locate` was asked.
        """
        page = await self._shared_page(pattern, low - low % GRAIN, high)
        if page.upto <= low:  # it was cut short
            page = await self._shared_page(pattern, low, high)
        page = evolve(page, entries=tuple(entry for entry in page.entries if entry.position > low))
        if not self._whole(pattern, low, page.floors):
            raise Pruned("What was to be replayed is no longer kept")
        return page

    def _whole(self, pattern: str, position: int, floors: Mapping[str, int]) -> bool:
        """Whether nothing that `pattern` covers is missing behind `position`."""
        return all(floors.get(each.match, 0) <= position for each in self._namespaces.over(pattern))

    async def _shared_floors(self) -> Mapping[str, int]:
        """One look for all who ask while it is under way."""
        asked: Deferred[Mapping[str, int]] = Deferred()
        self._asking.append(asked)
        if len(self._asking) == 1:
            looked = Deferred.fromCoroutine(_awaited(self._log.floors()))
            looked.addBoth(self._answer_floors)
        return await asked

    def _answer_floors(self, floors: Mapping[str, int] | Failure) -> None:
        asking, self._asking = self._asking, []
        for asked in asking:
            asked.callback(floors)  # a failure too

    async def _shared_page(self, pattern: str, low: int, high: int) -> Page:
        stretch = lead(pattern), low, min(high, (low // STRETCH + 1) * STRETCH)
        if stretch in self._pages:
            self._pages.move_to_end(stretch)
            return self._pages[stretch]
        page: Deferred[Page] = Deferred()
        reading = stretch, self._forgot
        self._reading.setdefault(reading, []).append(page)
        if len(self._reading[reading]) == 1:
            Deferred.fromCoroutine(self._read(*reading)).addErrback(self._unread, reading)
        return await page

    def turn(self) -> Deferred[None]:
        """Fires when there is time to send a little more, and we are not blind."""
        sight = self._audience.sight
        if sight is not None and sight.blind:
            return sight.regained().addCallback(lambda _: self.turn())
        if not self._sharing:
            self._sharing = True
            self._clock.callLater(0, self._share)
        share: Deferred[None] = Deferred()
        self._waiting.append(share)
        return share

    def forget(self) -> None:
        """What was withdrawn must not be replayed from a page that was read before."""
        self._pages.clear()
        self._forgot += 1  # who asks from now on waits for no page that is being read already

    async def _read(self, stretch: Stretch, forgot: int) -> None:
        page = await self._log.page(*stretch)
        if forgot == self._forgot:
            self._pages[stretch] = page
            while len(self._pages) > KEPT:
                self._pages.popitem(last=False)
        for each in self._reading.pop((stretch, forgot)):
            each.callback(page)

    def _unread(self, failure: Failure, reading: tuple[Stretch, int]) -> None:
        for each in self._reading.pop(reading):
            each.errback(failure)

    def _share(self) -> None:
        """One share for each who waits now, as far as the time goes."""
        ends = self._clock.seconds() + SLICE
        for _ in range(len(self._waiting)):
            self._waiting.popleft().callback(None)
            if self._clock.seconds() >= ends:
                break
        self._sharing = bool(self._waiting)
        if self._sharing:
            self._clock.callLater(0, self._share)


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer
