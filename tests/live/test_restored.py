"""The database goes back under running instances: a backup is restored, or a standby promoted that lacked the latest."""

from __future__ import annotations

import psycopg
from attrs import evolve

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace

from .running import Shared


class WentBackTests(Shared):
    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("kept.**"),))

    async def asyncSetUp(self) -> None:
        self.ann, self.bob = await self.person("ann"), await self.person("bob")  # on an instance each

    async def publish(self, *contents: str) -> str:
        """By way of the first instance; gives the last cursor."""
        for content in contents:
            status, answer = await self.ann.rest.ask("POST", "/api/v1/topics/kept.it", {"data": content})
            self.assertEqual(status, 202, answer)
        return str(answer["data"]["cursor"])

    def go_back(self, cursor: str) -> None:
        """What a restore of what was there at `cursor` comes to."""
        position = int(cursor.rpartition(".")[2])
        with psycopg.connect(self.database) as database:
            database.execute("DELETE FROM events WHERE position > %s", (position,))
            database.execute("DELETE FROM heads WHERE position > %s", (position,))

    async def test_every_connection_ends_and_resumes_knowing_that_it_missed_something(self) -> None:
        """On both instances; the other one only reads meanwhile.  They were followed at the lost positions."""
        people = self.ann, self.bob
        sockets = [await each.websocket() for each in people]
        for socket in sockets:
            await socket.ask(type="subscribe", topic="kept.**")
        kept = await self.publish("kept")
        lost = await self.publish("lost", "lost, too", "lost as well")
        await self.told_everywhere()
        self.go_back(kept)
        await self.publish("one")
        for socket in sockets:
            code, reason = await socket.inbox.closed
            self.assertEqual(code, 1001, reason)
            heard = [said["data"] for said in socket.inbox.rest() if said["type"] == "message"]
            self.assertEqual(heard, ["kept", "lost", "lost, too", "lost as well"])
        sockets = [await each.websocket() for each in people]
        for socket in sockets:
            subscribed = await socket.ask(type="subscribe", topic="kept.**", after=lost)
            self.assertFalse(subscribed["recovered"])
        await self.publish("two")
        for socket in sockets:
            self.assertEqual((await socket.inbox.next())["data"], "two")
            await socket.close()
