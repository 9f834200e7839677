"""Small reads are done where they are asked for, and what is not small is not."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred

from multiproto.core.ports import Query
from multiproto.storage import near

from ..stores import StoreCase
from .units import add_user

ADA = Query("user_by_id", {"id": "ada"})
COUNT = Query("users_count")


class NearTests(StoreCase):
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
        self.assertEqual((at_once, results[0][0]["id"]), (self.store._fast, "ada"))
        head, now = await self.store.head()
        self.assertEqual(cursor, now)

    async def test_what_was_answered_is_seen(self) -> None:
        for id in ("bob", "cay"):
            await self.store.commit(add_user(id))
            _, (results, _) = await self.read(Query("user_by_id", {"id": id}))
            self.assertEqual(len(results[0]), 1)

    async def test_all_else_is_for_the_threads(self) -> None:
        for queries in ((COUNT,), (ADA, COUNT)):
            at_once, (results, _) = await self.read(*queries)
            self.assertEqual((at_once, len(results)), (False, len(queries)))

    async def test_so_is_what_takes_too_long(self) -> None:
        """And the connection is good for the next one."""
        expected = (await self.read(ADA))[1]
        with self.steps(1):
            self.assertEqual(await self.read(ADA), (False, expected))
        self.assertEqual(await self.read(ADA), (self.store._fast, expected))

    def steps(self, most: int) -> Any:
        return patch.object(near, "STEPS", most)
