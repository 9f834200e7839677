"""What is said of a COMMIT that waited for its standby when the server under it changed, or gave up to wait."""

from __future__ import annotations

from multiproto.core.errors import DatabaseError, Unavailable
from multiproto.core.transactions import Unit
from tests.storage.units import add_user, event, say, user_by_id

from .cases import refusal
from .standbys import StandbyCase, later


class LostAnswerTests(StandbyCase):
    async def test_one_that_the_promoted_standby_lacks_is_refused(self) -> None:
        """Ids of transactions go on there from the same number, and so do our heads."""
        await self._is_refused(say(event("e1", "ada")))

    async def test_one_without_an_event_leaves_its_mark_too(self) -> None:
        await self._is_refused(add_user("ada"))

    async def _is_refused(self, unit: Unit) -> None:
        proxy, conninfo = await self.proxied()
        store = await self.make_store(conninfo)
        self.cut_off()
        answer = store.commit(unit)
        await self.commit_waits()
        self.promote()
        other = await self.make_store(self.standby_conninfo)  # its first transaction begins a term
        await other.commit(say(event("other", "bob")))
        proxy.move(self.standby.port)
        proxy.cut()
        self.assertIsInstance(await refusal(answer), Unavailable)
        self.assertEqual([entry.event.id for entry in await other.read_after(0, 9)], ["other"])
        self.assertEqual((await other.read(user_by_id("ada"))).results[0], ())

    async def test_one_that_is_on_the_disk_of_the_primary_only_is_unknown(self) -> None:
        """The session ended while its COMMIT waited, by a DBA's hand or the server's end; a failover may lose it."""
        for ending in ("pg_terminate_backend", "pg_cancel_backend", "restart"):
            store = await self.make_store()
            self.cut_off()
            answer = store.commit(say(event(ending, "ada")))
            await self.commit_waits()
            if ending == "restart":
                self.server.kill()
                self.server.start()
            else:
                self.signal_waiting(ending)
            unknown = await refusal(answer)
            self.assertIsInstance(unknown, DatabaseError, ending)
            self.assertIn("repeat it with the same idempotency key", unknown.message)
            self.reconnect()
            await self._written_again(store, ending)
            await store.stopService()

    async def test_one_is_kept_once_the_standby_has_what_is_behind_it(self) -> None:
        store = await self.make_store()
        self.cut_off()
        answer = store.commit(say(event("e1", "ada")))
        await self.commit_waits()
        self.signal_waiting("pg_terminate_backend")
        self.reconnect()
        cursor = await answer
        self.server.kill()
        self.promote()
        other = await self.make_store(self.standby_conninfo)
        self.assertEqual([entry.cursor for entry in await other.read_after(0, 9)], [cursor])

    async def _written_again(self, store: object, name: str) -> None:
        while True:
            try:
                await store.commit(say(event(f"after {name}", "ada")))  # type: ignore[attr-defined]
            except (Unavailable, DatabaseError):
                await later(0.05)
            else:
                return
