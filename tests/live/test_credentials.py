"""A device with a credential of its own, on real sockets: from the REST call that makes it to the one that ends it."""

from __future__ import annotations

from typing import Any

from ..timing import Stopwatch
from .clients import Address, Device, Events, Rest, WebSocket
from .running import LiveCase, Shared

GRANTS = [{"pattern": "devices.pump.*", "verbs": ["publish", "subscribe"]}]


class CredentialTests(LiveCase):
    """Made and revoked at the first address, used at the last."""

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("Ann")
        self.there: Address = self.addresses[-1]
        fields = {"name": "pump", "grants": GRANTS, "expiresIn": "1h"}
        status, answer = await self.rest.ask("POST", "/api/v1/auth/credentials", fields)
        assert status == 201, answer
        self.id, self.secret = answer["data"]["id"], answer["data"]["credential"]

    @property
    def rest(self) -> Rest:
        return Rest(self.addresses[0], self.ann.token)

    async def revoke(self) -> Stopwatch:
        """Started when it is asked for."""
        asked = Stopwatch()
        self.assertEqual(await self.rest.ask("DELETE", f"/api/v1/auth/credentials/{self.id}"), (204, None))
        return asked

    async def all_closed(self, asked: Stopwatch, *inboxes: Any) -> list[Any]:
        """Why each was closed."""
        reasons = [await inbox.closed for inbox in inboxes]
        asked.stop("a revoked credential's connections end", 1.0)
        return reasons

    async def test_a_device_does_what_it_was_granted_until_it_is_revoked(self) -> None:
        device = await Device.open(self.there)
        self.assertEqual((await device.ask(0x01, token=self.secret))[0], 0x02)
        self.assertEqual((await device.ask(0x10, topic="devices.pump.*"))[0], 0x12)
        kind, refused = await device.ask(0x20, topic="devices.lamp.heat", content=1, id=1)
        self.assertEqual((kind, refused["code"], refused["id"]), (0xFF, "5", 1))
        device.say(0x20, topic="devices.pump.heat", content=21.5, id=2)
        said = [await device.inbox.next() for _ in range(2)]
        self.assertEqual({kind: fields.get("content") for kind, fields in said}, {0x21: 21.5, 0x22: None})
        asked = await self.revoke()
        kind, farewell = await device.inbox.next()
        self.assertEqual((kind, farewell["error"]), (0xFF, "Token revoked"))
        await self.all_closed(asked, device.inbox)
        again = await Device.open(self.there)
        kind, refused = await again.ask(0x01, token=self.secret)
        self.assertEqual((kind, refused["error"]), (0x03, "Credential unknown or revoked"))
        await again.close()

    async def test_it_is_taken_on_every_protocol_and_ends_on_every_one(self) -> None:
        header = f"Bearer {self.secret}"
        bearing = Rest(self.there, self.secret)
        topic = "/api/v1/topics/devices.pump.heat"
        self.assertEqual((await bearing.ask("POST", topic, {"data": 1}))[0], 202)
        self.assertEqual((await bearing.ask("GET", "/api/v1/messages"))[0], 403)
        answer = await bearing.graphql("{ me { id } users { cursor } }")
        self.assertEqual([each["extensions"]["code"] for each in answer["errors"]], ["FORBIDDEN"])
        socket = await WebSocket.open(self.there, Authorization=header)
        self.assertEqual((await socket.inbox.next())["type"], "auth_success")
        graphql = await WebSocket.open(self.there, "/graphql", ("graphql-transport-ws",))
        init = await graphql.ask(type="connection_init", payload={"authorization": header})
        self.assertEqual(init["type"], "connection_ack")
        stream: Events = await bearing.events("GET", "/api/v1/topics/devices.pump.*/events")
        self.assertEqual((await stream.inbox.next())[0], "subscribed")
        asked = await self.revoke()
        reasons = await self.all_closed(asked, socket.inbox, graphql.inbox, stream.inbox)
        self.assertEqual(reasons[:2], [(4401, "Token revoked"), (4403, "Token revoked")])
        self.assertEqual((await bearing.ask("POST", topic, {"data": 1}))[0], 401)

    async def test_its_last_use_is_shown_once_it_was_written(self) -> None:
        """Which the end of the server does, too."""
        await Rest(self.there, self.secret).ask("GET", "/api/v1/auth/me")
        uses = self.running[-1].getServiceNamed("credential-usage")
        await uses.stopService()
        uses.startService()
        _, answer = await self.rest.ask("GET", "/api/v1/auth/credentials")
        [shown] = answer["data"]
        self.assertEqual((shown["id"], shown["lastUsedFrom"]), (self.id, "127.0.0.1"))
        self.assertGreaterEqual(shown["lastUsedAt"], shown["createdAt"])


class SharedTests(Shared, CredentialTests):
    """On two instances: what one ends, the other does, too."""
