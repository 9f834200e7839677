"""The dialogues that docs/websocket.md, docs/tcp.md and docs/common.md print are what a real server says."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

from attrs import evolve

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace

from ..test_pages import page, section
from .clients import Device, Person, WebSocket
from .running import LiveCase

STANDS_FOR_ANY = re.compile(r"…|^\d{4}-\d\d-\d\dT[\d:.]+Z$|^[0-9a-f]{16}\.\d+$|^[0-9a-f]{8}-")
MILLISECONDS = 10**12  # the least that is taken for a time


def resembles(example: object, real: object) -> bool:
    """Whether `real` has the fields of `example`, in their order, and its values, but for ids, times and what is cut short."""
    if isinstance(example, dict) and isinstance(real, dict):
        return list(example) == list(real) and all(resembles(example[name], real[name]) for name in example)
    if isinstance(example, list) and isinstance(real, list):
        return len(example) == len(real) and all(map(resembles, example, real))
    if isinstance(example, str) and STANDS_FOR_ANY.search(example):
        return isinstance(real, (str, dict))
    if isinstance(example, int) and example > MILLISECONDS:
        return isinstance(real, int)
    return example == real


def lines(name: str, heading: str) -> Iterator[tuple[str, str]]:
    """Who says what in the dialogue below `heading`: each a line, or several that are indented."""
    [block] = re.findall(
        r"^```\n((?:C |> |< ).*?)^```", section(page(name), heading), re.MULTILINE | re.DOTALL
    )
    for said in re.findall(r"^\S.*\n(?: .*\n)*", block, re.MULTILINE):
        who, _, text = said.partition(" ")
        yield who, " ".join(text.replace("{…}", '"…"').split())


class DialogueTests(LiveCase):
    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("telemetry.**"),))

    async def asyncSetUp(self) -> None:
        self.ann: Person = await self.person("ann")

    async def publish(self, *data: int) -> str:
        """Publish each on the topic of the pages' dialogues; the cursor of the last."""
        for each in data:
            _, answer = await self.ann.rest.ask("POST", "/api/v1/topics/telemetry.engine", {"data": each})
        return str(answer["data"]["cursor"])

    async def converse_by_websocket(self, name: str, heading: str, socket: Any, **own: str) -> None:
        """Say what the page's client says, with the values of `own` for its fields."""
        for who, text in lines(name, heading):
            message = json.loads(text)
            if who == ">":
                socket.say(**{**message, **{field: own[field] for field in own if field in message}})
            else:
                real = await socket.inbox.next()
                self.assertTrue(resembles(message, real), f"{text}\n{json.dumps(real)}")

    async def test_websocket(self) -> None:
        """docs/websocket.md#a-dialogue"""
        socket = await WebSocket.open(self.address)
        self.addCleanup(socket.close)
        await self.converse_by_websocket("docs/websocket.md", "## A dialogue", socket, token=self.ann.token)

    async def test_websocket_comes_back(self) -> None:
        """docs/websocket.md#coming-back"""
        cursor, socket = await self.publish(80), await self.ann.websocket()
        await self.publish(81)
        await self.told_everywhere()
        await self.converse_by_websocket("docs/websocket.md", "## Coming back", socket, after=cursor)

    async def test_unknown_fields(self) -> None:
        """docs/common.md#unknown-fields"""
        socket = await self.ann.websocket()
        await self.converse_by_websocket("docs/common.md", "### Unknown fields", socket)

    async def converse_by_tcp(self, heading: str, device: Any, **own: str) -> None:
        for who, text in lines("docs/tcp.md", heading):
            found = re.fullmatch(r"(?:[0-9a-f.]{2} ){0,4}([0-9a-f]{2})(?: (\{.*\}))?", text)
            assert found, text
            kind, message = int(found[1], 16), json.loads(found[2] or "{}")
            if who == "C":
                device.say(kind, **{**message, **{field: own[field] for field in own if field in message}})
            else:
                real_kind, real = await device.inbox.next()
                self.assertEqual(real_kind, kind, text)
                self.assertTrue(resembles(message, real), f"{text}\n{json.dumps(real)}")

    async def test_tcp(self) -> None:
        """docs/tcp.md#a-dialogue"""
        device = await Device.open(self.address)
        self.addCleanup(device.close)
        await self.converse_by_tcp("## A dialogue", device, token=self.ann.token)

    async def test_tcp_comes_back(self) -> None:
        """docs/tcp.md#coming-back"""
        cursor, device = await self.publish(80), await self.ann.device()
        await self.publish(81, 82)
        await self.told_everywhere()
        await self.converse_by_tcp("## Coming back", device, after=cursor)

    async def test_graphql(self) -> None:
        """docs/graphql.md#over-websocket"""
        socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
        self.addCleanup(socket.close)
        for who, text in lines("docs/graphql.md", "### Over WebSocket"):
            message = json.loads(text)
            if who == ">":
                if message["type"] == "connection_init":
                    message["payload"] = {"authorization": f"Bearer {self.ann.token}"}
                socket.say(**message)
                continue
            if message["type"] == "next":
                while not any("plant" in pattern for pattern in self.patterns()):
                    await self.ann.rest.ask("GET", "/health/live")
                await self.ann.rest.ask("POST", "/api/v1/topics/plant.7", {"data": 21.5})
            real = await socket.inbox.next()
            self.assertTrue(resembles(message, real), f"{text}\n{json.dumps(real)}")

    def patterns(self) -> set[str]:
        hub = self.server.getServiceNamed("hub")
        return {pattern for each in hub for pattern in each._subscriptions._by_pattern}
