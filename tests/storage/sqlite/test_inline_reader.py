"""Small reads are done where they are asked for, and what is not small is not."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from multiproto.core.transactions import Query, Step, Unit
from multiproto.storage.sqlite import inline_reader
from multiproto.storage.sqlite.store import INLINE_BACKLOG

from ...stores import StoreCase
from ..units import add_user, event, published, say

ADA = Query("user_by_id", {"id": "ada"})
COUNT = Query("users_count")
PAGE = Query("users_page", {"limit": 10, "offset": 0, "bound": 2**63 - 1})


class InlineReaderTests(StoreCase):
    async def asyncSetUp(self) -> None:
        await self.store.commit(add_user("ada"))

    async def read(self, *queries: Query) -> tuple[bool, Any]:
        """Whether it was there at once, and what it was."""
        reading: Deferred[Any] = self.store.read(*queries)
        at_once = reading.called
        found = await reading
        return at_once, (found.results, found.cursor)

    async def test_what_is_found_by_a_key_is_there_at_once(self) -> None:
        at_once, (results, cursor) = await self.read(ADA)
        self.assertEqual((at_once, results[0][0]["id"]), (self.store._inline_reads, "ada"))
        head, now = await self.store.head()
        self.assertEqual(cursor, now)

    async def test_what_was_answered_is_seen(self) -> None:
        for id in ("bob", "cay"):
            await self.store.commit(add_user(id))
            _, (results, _) = await self.read(Query("user_by_id", {"id": id}))
            self.assertEqual(len(results[0]), 1)

    async def test_all_else_is_once_the_threads_were_quick(self) -> None:
        fast = self.store._inline_reads
        with patch.multiple(inline_reader, CHEAP_CPU_TIME=60.0, INLINE_TIMEOUT=60.0):
            for queries, expected in (
                ((COUNT,), False),
                ((COUNT,), fast),
                ((ADA, COUNT), fast),
                ((PAGE,), False),
            ):
                at_once, (results, _) = await self.read(*queries)
                self.assertEqual((at_once, len(results)), (expected, len(queries)))

    async def test_or_never(self) -> None:
        with patch.object(inline_reader, "CHEAP_CPU_TIME", -1.0):
            for _ in range(3):
                self.assertEqual((await self.read(COUNT))[0], False)

    async def test_what_takes_too_long_is_broken_off_and_at_the_second_time_left_to_the_threads(self) -> None:
        """And the connection is good for the next one."""
        with patch.multiple(inline_reader, CHEAP_CPU_TIME=60.0, INLINE_TIMEOUT=60.0, OFFLOAD_DURATION=60.0):
            _, expected = await self.read(COUNT)
            for _ in range(2):  # with a good one in between
                self.assertEqual(await self.late(), (False, expected))
                self.assertEqual(await self.read(COUNT), (self.store._inline_reads, expected))
            for _ in range(2):
                self.assertEqual(await self.late(), (False, expected))
            for _ in range(2):
                self.assertEqual(await self.read(COUNT), (False, expected))
            self.assertEqual((await self.read(ADA))[0], self.store._inline_reads)

    async def test_so_is_what_is_found_by_a_key_for_this_time(self) -> None:
        expected = (await self.read(ADA))[1]
        with patch.multiple(inline_reader, INLINE_TIMEOUT=-1.0, STEPS_PER_CLOCK_CHECK=1):
            self.assertEqual(await self.read(ADA), (False, expected))
        self.assertEqual(await self.read(ADA), (self.store._inline_reads, expected))

    async def test_and_tried_again_later(self) -> None:
        with patch.multiple(inline_reader, CHEAP_CPU_TIME=60.0, INLINE_TIMEOUT=60.0, OFFLOAD_DURATION=0.0):
            for _ in range(3):
                await self.late()
            self.assertEqual((await self.read(COUNT))[0], self.store._inline_reads)

    async def test_one_that_computed_for_long_in_a_single_step_is_answered(self) -> None:
        """Counting all rows is one."""
        await self.see_it_answered_and_then_left_to_the_threads(CHEAP_CPU_TIME=-1.0)

    async def test_so_is_one_that_waited_for_long(self) -> None:
        await self.see_it_answered_and_then_left_to_the_threads(INLINE_TIMEOUT=-1.0)

    async def see_it_answered_and_then_left_to_the_threads(self, **limit: float) -> None:
        with patch.multiple(inline_reader, CHEAP_CPU_TIME=60.0, INLINE_TIMEOUT=60.0, OFFLOAD_DURATION=60.0):
            _, expected = await self.read(COUNT)
            with patch.multiple(inline_reader, STEPS_PER_CLOCK_CHECK=1_000_000, **limit):
                for _ in range(2):
                    self.assertEqual(await self.read(COUNT), (self.store._inline_reads, expected))
            self.assertEqual(await self.read(COUNT), (False, expected))

    # The log's newest entries.

    async def after(self, position: int) -> tuple[bool, list[str]]:
        """Whether the entries after `position` were there at once, and their events' ids."""
        reading = self.store.read_after(position, 500)
        at_once = reading.called
        return at_once, [entry.event.id for entry in await reading]

    async def test_a_short_stretch_of_the_log_is_there_at_once(self) -> None:
        await self.store.commit(say(*[published(f"e{n}", "a") for n in range(INLINE_BACKLOG + 1)]))
        expected = [f"e{n}" for n in range(INLINE_BACKLOG + 1)]
        self.assertEqual(await self.after(1), (self.store._inline_reads, expected[1:]))
        self.assertEqual(await self.after(0), (False, expected))
        await self.store.commit(say(published("last", "a")))
        self.assertEqual(await self.after(INLINE_BACKLOG + 1), (self.store._inline_reads, ["last"]))
        self.assertEqual(await self.after(INLINE_BACKLOG + 2), (self.store._inline_reads, []))

    async def test_what_was_withdrawn_is_blank_there(self) -> None:
        await self.store.commit(say(event("e1", "s", n=1)))
        await self.store.commit(Unit((Step("log_blank", {"subject": "s"}),)))
        (entry,) = await self.store.read_after(0, 9)
        self.assertEqual((entry.event.content, entry.redacted), (None, True))

    async def test_what_takes_too_long_there_is_left_to_the_threads(self) -> None:
        await self.store.commit(say(published("e1", "a")))
        with patch.multiple(inline_reader, INLINE_TIMEOUT=-1.0, STEPS_PER_CLOCK_CHECK=1):
            self.assertEqual(await self.after(0), (False, ["e1"]))
        self.assertEqual(await self.after(0), (self.store._inline_reads, ["e1"]))

    async def late(self) -> tuple[bool, Any]:
        """The same count, for which there is no time at all."""
        with patch.multiple(inline_reader, INLINE_TIMEOUT=-1.0, STEPS_PER_CLOCK_CHECK=1):
            return await self.read(COUNT)
