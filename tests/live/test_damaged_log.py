"""An event of the embedded store's log is damaged before it is delivered: all are told, and all goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from attrs import evolve

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.storage.sqlite.store import DATABASE_FILE

from .clients import Rest
from .running import LiveCase


class DamagedLogTests(LiveCase):
    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("kept.**"),))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")

    def append_damaged(self) -> None:
        """An event whose content is no JSON, as the next one of the log: a copy of the newest that was published."""
        file = Path(self.config.storage.directory) / DATABASE_FILE
        with closing(sqlite3.connect(file, timeout=self.timeout)) as other, other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE head SET position = position + 1")
            found = other.execute(
                "SELECT * FROM events WHERE namespace = 'kept.**' ORDER BY position DESC LIMIT 1"
            )
            row = dict(zip((column[0] for column in found.description), found.fetchone()))
            (head,) = other.execute("SELECT position FROM head").fetchone()
            row |= {"position": head, "id": f"damaged{head}", "content": "{", "crc32": None}
            other.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(row))})", tuple(row.values()))

    async def publish(self, content: str) -> None:
        status, answer = await self.ann.rest.ask("POST", "/api/v1/topics/kept.it", {"data": content})
        self.assertEqual(status, 202, answer)

    async def test_who_follows_is_told_and_what_comes_is_delivered(self) -> None:
        socket, device = await self.ann.websocket(), await self.ann.device()
        subscribed = await socket.ask(type="subscribe", topic="kept.**")
        await device.ask(0x10, topic="kept.**")
        await self.publish("before")
        self.assertEqual((await socket.inbox.next())["data"], "before")
        self.assertEqual((await device.inbox.next())[1]["content"], "before")
        self.append_damaged()
        code, reason = await socket.inbox.closed
        self.assertEqual((code, "; after=" in reason), (1012, True), reason)
        await device.inbox.closed
        kind, said = device.inbox.rest()[-1]
        self.assertEqual((kind, said["code"]), (0xFF, "55"), said)

        _, health = await Rest(self.address).ask("GET", "/health")
        self.assertEqual(health["status"], "degraded")
        self.assertIn("is no JSON", health["damage"])
        socket = await self.ann.websocket()
        await socket.ask(type="subscribe", topic="kept.**")
        await self.publish("behind")
        self.assertEqual((await socket.inbox.next())["data"], "behind")
        self.assertEqual((await Rest(self.address).ask("GET", "/health/ready"))[0], 200)
        again = await self.ann.websocket()
        again.say(type="subscribe", topic="kept.**", after=subscribed["cursor"])
        self.assertEqual((await again.inbox.closed)[0], 1011)  # the page with the damage can't be replayed
