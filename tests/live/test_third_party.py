"""Clients that others wrote, against the whole server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from .clients import Address
from .processes import Program
from .running import LiveCase
from .test_matrix import publish_by_graphql, publish_by_rest, publish_by_tcp, publish_by_websocket

HERE = Path(__file__).parent
NODE = shutil.which("node")
CURL = shutil.which("curl")
SUBSCRIPTION = 'subscription { topic(pattern: "room.*") { topic data } }'


class ThirdPartyTests(LiveCase):
    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")

    def run_beside(self, program: Program) -> Program:
        self.addCleanup(program.kill)
        return program

    async def publish(self) -> None:
        for number, publish in enumerate(
            (publish_by_rest, publish_by_graphql, publish_by_websocket, publish_by_tcp)
        ):
            await publish(self.ann, "room.7", number)

    async def heard(self, program: Program) -> list[Any]:
        """What `program` printed for four publications, and that it ended well."""
        self.assertEqual(await program.next(), "ready", program.errors)
        await self.publish()
        heard = [await program.next() for _ in range(4)]
        return heard

    async def test_websockets(self) -> None:
        url = self.address.url("/ws", "ws")
        script = str(HERE / "websockets_client.py")
        program = self.run_beside(Program.python(script, url, self.ann.token, "room.*", "4"))
        heard = await self.heard(program)
        self.assertEqual(
            [(m["type"], m["topic"], m["data"]) for m in heard], [("message", "room.7", n) for n in range(4)]
        )
        self.assertEqual(await program.ended, 0, program.errors)

    async def test_plain_socket(self) -> None:
        where = (self.address.host, str(self.address.tcp))
        script = str(HERE / "socket_client.py")
        program = self.run_beside(Program.python(script, *where, self.ann.token, "room.*", "4"))
        heard = await self.heard(program)
        self.assertEqual(
            [(kind, m["topic"], m["content"]) for kind, m in heard], [(0x21, "room.7", n) for n in range(4)]
        )
        self.assertEqual(await program.ended, 0, program.errors)

    async def test_graphql_ws(self) -> None:
        url = self.address.url("/graphql", "ws")
        heard = await self.heard(self.node("graphql_ws.js", url))
        self.assertEqual(
            [m["data"]["topic"] for m in heard], [{"topic": "room.7", "data": n} for n in range(4)]
        )

    async def test_graphql_sse(self) -> None:
        heard = await self.heard(self.node("graphql_sse.js", self.address.url("/graphql")))
        self.assertEqual(
            [m["data"]["topic"] for m in heard], [{"topic": "room.7", "data": n} for n in range(4)]
        )

    def node(self, script: str, url: str) -> Program:
        assert NODE is not None
        return self.run_beside(
            Program.start(NODE, str(HERE / "node" / script), url, self.ann.token, SUBSCRIPTION, "4")
        )

    if NODE is None:
        test_graphql_ws.skip = test_graphql_sse.skip = "node is not installed"  # type: ignore[attr-defined]

    async def test_curl(self) -> None:
        """A stream heard by one curl, a message sent by another."""
        stream = self.curl(self.address, "-N", "/api/v1/topics/messages.channel.c/events")
        self.assertEqual(await stream.lines.next(), b"event: subscribed")
        body = json.dumps({"content": "hi", "channelId": "c"})
        sent = self.curl(self.address, "-H", "Content-Type: application/json", "-d", body, "/api/v1/messages")
        self.assertEqual(await sent.ended, 0, sent.errors)
        message = json.loads(sent.said)["data"]
        while not (line := await stream.lines.next()).startswith(b'data: {"topic":"messages.channel.c"'):
            pass
        while b'"message"' not in line:
            line = await stream.lines.next()
        self.assertEqual(json.loads(line.removeprefix(b"data: "))["data"], {"message": message})

    def curl(self, address: Address, *arguments: str) -> Program:
        assert CURL is not None
        *options, path = arguments
        bearer = ("-H", f"Authorization: Bearer {self.ann.token}")
        return self.run_beside(Program.start(CURL, "-sS", *bearer, *options, address.url(path)))

    if CURL is None:
        test_curl.skip = "curl is not installed"  # type: ignore[attr-defined]
