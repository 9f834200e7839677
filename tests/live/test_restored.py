"""The database goes back under running instances: a backup is restored, or a standby promoted that lacked the latest."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psycopg
from attrs import evolve

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from tests.programs import postgresql_bin
from tests.timing import Stopwatch

from .clients import Person, Rest
from .running import Shared


class ReplacedLogCase(Shared):
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


class WentBackTests(ReplacedLogCase):
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
            self.assertEqual(code, 1012, reason)
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


class RestoredTests(ReplacedLogCase):
    """pg_dump, and later pg_restore under both instances, as docs/instances.md says; nobody writes meanwhile."""

    def dump(self) -> None:
        self.file = Path(self.mktemp())
        self.run_program("pg_dump", "--format=custom", f"--file={self.file}", self.database)

    def restore(self) -> None:
        options = ("--clean", "--if-exists", "--single-transaction", f"--dbname={self.database}")
        self.run_program("pg_restore", *options, str(self.file))

    def run_program(self, program: str, *options: str) -> None:
        subprocess.run([str(postgresql_bin() / program), *options], check=True, capture_output=True)

    async def test_everybody_is_told_without_a_further_write_and_all_is_well_again(self) -> None:
        people = self.ann, self.bob
        kept = await self.publish("kept")
        await self.told_everywhere()
        self.dump()
        sockets = [await each.websocket() for each in people]
        for socket in sockets:
            await socket.ask(type="subscribe", topic="kept.**")
        device, stream = (
            await self.ann.device(),
            await self.bob.stream("GET", "/api/v1/topics/kept.**/events"),
        )
        lost = await self.publish(*(f"lost {n}" for n in range(50)))
        await self.told_everywhere()
        self.restore()
        restored = Stopwatch()
        for socket in sockets:
            code, reason = await socket.inbox.closed
            self.assertEqual(
                (code, reason.partition(";")[0]), (1012, "the log was restored to an earlier state")
            )
        await device.inbox.closed
        (error,) = [said for kind, said in device.inbox.rest() if kind == 0xFF]
        self.assertEqual(error["code"], "55")
        await stream.inbox.closed
        await self.publish("after")
        restored.stop("publications go on after a restore", 5)
        for each in people:
            socket = await each.websocket()
            subscribed = await socket.ask(type="subscribe", topic="kept.**", after=lost)
            self.assertFalse(subscribed["recovered"])
            other = await each.websocket()
            subscribed = await other.ask(type="subscribe", topic="kept.**", after=kept)
            self.assertTrue(subscribed["recovered"])
            replayed = await other.inbox.next()
            self.assertEqual(replayed["data"], "after")  # and nothing that is lost
            for opened in (socket, other):
                await opened.close()
        for address in self.addresses:
            _, health = await Rest(address).ask("GET", "/health")
            self.assertEqual((health["status"], list(health["log"])), ("healthy", ["replacedAt"]))

    async def test_what_ends_behind_the_restore_ends_everywhere(self) -> None:
        """A logout on one instance counts on the other, which was further on in the log that was lost."""
        await self.told_everywhere()
        self.dump()
        await self.publish(*(f"lost {n}" for n in range(50)))
        await self.told_everywhere()
        self.restore()
        ann: Person = self.ann
        there = Rest(self.addresses[1], ann.token)
        self.assertEqual((await there.ask("GET", "/api/v1/auth/me"))[0], 200)
        self.assertEqual((await ann.rest.ask("POST", "/api/v1/auth/logout"))[0], 204)
        await self.told_everywhere()
        self.assertEqual((await there.ask("GET", "/api/v1/auth/me"))[0], 401)
