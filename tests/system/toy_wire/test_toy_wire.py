"""A protocol that the package knows nothing of: one more line in the table, and the server serves it."""

from __future__ import annotations

import json

import treq

from multiproto.wire_table import WIRES

from ...live.clients import Device
from ...live.running import LiveCase
from .client import ToyClient
from .toy_wire import toy_wire


class ToyWireTests(LiveCase):
    wires = (*WIRES, toy_wire)

    async def connect(self, token: str) -> ToyClient:
        client = await ToyClient.connect(self.server.port_number("toy"))
        self.addCleanup(client.close)
        self.assertEqual(await client.ask(f"AUTH {token}"), "OK")
        return client

    async def page(self, path: str) -> str:
        """A page of the metrics port."""
        response = await treq.get(f"http://127.0.0.1:{self.address.metrics}{path}", persistent=False)
        return str(await response.text())

    async def metric(self, name: str) -> float:
        lines = (line for line in (await self.page("/metrics")).splitlines() if line[:1] != "#")
        return float(dict(line.rsplit(" ", 1) for line in lines)[name])

    async def test_takes_part_in_the_conversation(self) -> None:
        """What is published over one protocol arrives over the other, live and logged."""
        ann = await self.person("ann")
        client, device = await self.connect(ann.token), await Device.open(self.address)
        await device.ask(0x01, token=ann.token)
        self.assertEqual(await client.ask("SUB room.*"), "OK")
        await device.ask(0x10, topic="room.**")
        device.say(0x20, topic="room.1", content={"n": 1})
        self.assertEqual(await client.inbox.next(), 'MSG room.1 {"n":1}')
        device.inbox.rest()
        self.assertEqual(await client.ask('PUB room.2.x {"n":2}'), "OK")
        kind, delivered = await device.inbox.next()
        self.assertEqual((delivered["topic"], delivered["content"]), ("room.2.x", {"n": 2}))
        self.assertEqual(await client.ask("SUB users"), "OK")
        await self.person("bob")
        self.assertTrue((await client.inbox.next()).startswith("MSG users "))
        await device.close()

    async def test_what_is_declined(self) -> None:
        client = await ToyClient.connect(self.server.port_number("toy"))
        self.addCleanup(client.close)
        for line, answer in (
            ("SUB room.1", "ERROR UNAUTHORIZED Authentication required"),
            ("AUTH nonsense", "ERROR UNAUTHORIZED Invalid token"),
            ("PUB room.1 {", "ERROR INVALID_INPUT Not a line that is known here"),
            ("HELLO", "ERROR INVALID_INPUT Not a line that is known here"),
        ):
            self.assertEqual(await client.ask(line), answer)

    async def test_ends_with_the_login(self) -> None:
        """And with the server: see `stop`, which waits for the hub."""
        ann = await self.person("ann")
        client = await self.connect(ann.token)
        await ann.rest.ask("POST", "/api/v1/auth/logout")
        self.assertEqual(await client.inbox.next(), "BYE Token revoked")
        await client.inbox.closed

    async def test_is_counted(self) -> None:
        ann = await self.person("ann")
        client = await self.connect(ann.token)
        await client.ask("SUB room.*")
        self.assertEqual(await self.metric("toy_connections_authenticated"), 1.0)
        self.assertEqual(await self.metric("toy_subscriptions_active"), 1.0)
        self.assertEqual(await self.metric('toy_messages_received_total{type="subscribe"}'), 1.0)
        self.assertGreater(await self.metric("toy_bytes_received_total"), len(ann.token))
        stats = json.loads(await self.page("/stats"))
        self.assertEqual(list(stats["protocols"])[-1], "toy")
        self.assertEqual(stats["protocols"]["toy"]["connections"]["activeConnections"], 1)
