"""Answers of docs/graphql.md, asked of a real server."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from attrs import evolve
from graphql import get_introspection_query

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.graphql import wire

from .clients import WebSocket
from .running import LiveCase
from .test_pages_sockets import nested

TOPIC = """subscription($pattern: String!, $after: String) {
  topic(pattern: $pattern, after: $after) { topic data cursor } }"""
PUBLISH = "mutation($topic: String!, $data: JSON) { publish(topic: $topic, data: $data) { cursor } }"


class GraphQLPageTests(LiveCase):
    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("log.**"),))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")

    async def publish(self, topic: str, data: object) -> str:
        answer = await self.ann.rest.graphql(PUBLISH, topic=topic, data=data)
        return str(answer["data"]["publish"]["cursor"])

    async def subscribed(self, socket: WebSocket, id: str, **variables: object) -> None:
        """Begin a subscription; returns once there is one, which no message of the protocol says."""
        socket.say(type="subscribe", id=id, payload={"query": TOPIC, "variables": variables})
        while variables["pattern"] not in self.patterns():
            await self.ann.rest.ask("GET", "/health/live")

    def patterns(self) -> set[str]:
        hub = self.server.getServiceNamed("hub")
        return {pattern for each in hub for pattern in each._subscriptions._by_pattern}

    async def test_what_after_may_be(self) -> None:
        """docs/graphql.md#subscriptions"""
        first = await self.publish("log.a", 1)
        second = await self.publish("log.a", 2)
        socket = await self.ann.graphql_socket()
        for number, after in enumerate(("", "garbage", f"{'0' * 16}.1")):
            await self.subscribed(socket, f"bad{number}", pattern=f"log.{number}", after=after)
            cursor = await self.publish(f"log.{number}", number)
            said = await socket.inbox.next()
            self.assertEqual(said["payload"]["data"]["topic"]["data"], number)
            self.assertEqual(said["payload"]["extensions"], {"cursor": cursor, "recovered": False}, after)
        await self.subscribed(socket, "null", pattern="log.null", after=None)
        cursor = await self.publish("log.null", 1)
        self.assertEqual((await socket.inbox.next())["payload"]["extensions"], {"cursor": cursor})
        await self.subscribed(socket, "live", pattern="live.a", after=first)
        await self.publish("live.a", 1)
        self.assertNotIn("extensions", (await socket.inbox.next())["payload"])
        socket.say(
            type="subscribe", id="0", payload={"query": TOPIC, "variables": {"pattern": "log.a", "after": 0}}
        )
        said = await socket.inbox.next()
        self.assertEqual((said["type"], said["payload"][0]["extensions"]["code"]), ("error", "BAD_REQUEST"))
        socket.say(
            type="subscribe",
            id="good",
            payload={"query": TOPIC, "variables": {"pattern": "log.a", "after": first}},
        )
        said = await socket.inbox.next()
        self.assertEqual(said["payload"]["extensions"], {"cursor": second, "recovered": True})
        third = await self.publish("log.a", 3)
        self.assertEqual((await socket.inbox.next())["payload"]["extensions"], {"cursor": third})

    async def test_the_depth_of_variables(self) -> None:
        """docs/graphql.md#requests-over-http: 64 levels of the whole text; each way has its own around a variable's value."""

        async def by_post(value: Any) -> bool:
            answer = await self.ann.rest.graphql(PUBLISH, topic="t", data=value)
            return "data" in answer

        async def by_batch(value: Any) -> bool:
            request = {"query": PUBLISH, "variables": {"topic": "t", "data": value}}
            status, _ = await self.ann.rest.ask("POST", "/graphql", [request])
            return status == 200

        async def by_url(value: Any) -> bool:
            variables = quote(json.dumps({"data": value}))
            status, _ = await self.ann.rest.ask(
                "GET", f"/graphql?query=%7B__typename%7D&variables={variables}"
            )
            return status == 200

        async def by_socket(value: Any) -> bool:
            socket = await self.ann.graphql_socket()
            payload = {"query": PUBLISH, "variables": {"topic": "t", "data": value}}
            socket.say(type="subscribe", id="1", payload=payload)
            if (await by_inbox(socket))["type"] == "next":
                return True
            self.assertEqual((await socket.inbox.closed)[0], 4400)
            return False

        async def by_inbox(socket: WebSocket) -> Any:
            said = socket.inbox.next()
            socket.inbox.closed.addCallback(lambda why: said.called or said.callback({"type": why}) or why)
            return await said

        for way, depth in ((by_post, 62), (by_batch, 61), (by_url, 63), (by_socket, 61)):
            self.assertTrue(await way(nested(depth)), way.__name__)
            self.assertFalse(await way(nested(depth + 1)), way.__name__)

    async def test_the_limit_of_a_message_without_a_token(self) -> None:
        """docs/common.md#before-authentication: at it and past it, whether acknowledged or not."""
        for acknowledged in (False, True):
            for size in (16_384, 16_385):
                socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
                if acknowledged:
                    await socket.ask(type="connection_init")
                ping = {"type": "ping", "payload": {"x": ""}}
                ping["payload"] = {"x": "y" * (size - len(json.dumps(ping)))}
                socket.say(**ping)
                if size == 16_384:
                    self.assertEqual(await socket.inbox.next(), {"type": "pong"})
                    await socket.close()
                else:
                    self.assertEqual((await socket.inbox.closed)[0], 1009)

    async def test_what_introspection_may_ask(self) -> None:
        """docs/graphql.md#limits"""
        full = get_introspection_query(
            specified_by_url=True,
            directive_is_repeatable=True,
            schema_description=True,
            input_value_deprecation=True,
        )
        self.assertNotIn("errors", await self.ann.rest.graphql(full))
        for lists in ("fields", "inputFields", "interfaces", "possibleTypes"):
            inner = f"{lists} {{ name }}"
            two = f"fields {{ type {{ {inner} }} }}"
            self.assertNotIn(
                "errors", await self.ann.rest.graphql(f"{{ __schema {{ types {{ {two} }} }} }}"), lists
            )
            three = f"fields {{ type {{ {two} }} }}"
            answer = await self.ann.rest.graphql(f"{{ __schema {{ types {{ {three} }} }} }}")
            self.assertIn("introspection depth", answer["errors"][0]["message"], lists)
        for count, refused in ((2, False), (3, True)):
            asked = " ".join(f'a{number}: __type(name: "User") {{ name }}' for number in range(count))
            answer = await self.ann.rest.graphql(f"{{ {asked} }}")
            self.assertEqual("errors" in answer, refused, count)
        answer = await self.ann.rest.graphql('{ __type(name: "User") { other: name } }')
        self.assertEqual(answer["errors"][0]["message"], "No aliases within introspection")

    async def test_mutations_publish_in_order_and_answers_come_when_they_are_ready(self) -> None:
        """docs/graphql.md#over-websocket"""
        socket = await self.ann.graphql_socket()
        await self.subscribed(socket, "heard", pattern="log.a")
        for number in range(50):
            payload = {"query": PUBLISH, "variables": {"topic": "log.a", "data": number}}
            socket.say(type="subscribe", id=str(number), payload=payload)
        heard: list[int] = []
        completed: set[str] = set()
        while len(heard) < 50 or len(completed) < 50:
            said = await socket.inbox.next()
            if said["id"] == "heard":
                heard.append(said["payload"]["data"]["topic"]["data"])
            elif said["type"] == "complete":
                completed.add(said["id"])
        self.assertEqual(heard, list(range(50)))

    async def test_each_subscription_stands_by_itself(self) -> None:
        """docs/graphql.md#subscriptions: on one socket, too; what is replayed is not marked."""
        first, second = await self.publish("log.a", 1), await self.publish("log.a", 2)
        socket = await self.ann.graphql_socket()
        await self.subscribed(socket, "one", pattern="log.a")
        await self.subscribed(socket, "two", pattern="log.*", after=first)
        third = await self.publish("log.a", 3)
        heard: dict[str, list[Any]] = {"one": [], "two": []}
        while len(heard["one"]) < 1 or len(heard["two"]) < 2:
            said = await socket.inbox.next()
            heard[said["id"]].append(said["payload"])
        delivery = {"topic": "log.a", "data": 3, "cursor": third}
        self.assertEqual(heard["one"], [{"data": {"topic": delivery}, "extensions": {"cursor": third}}])
        replayed, live = heard["two"]
        self.assertEqual(replayed["extensions"], {"cursor": second, "recovered": True})
        self.assertEqual(live, {"data": {"topic": delivery}, "extensions": {"cursor": third}})


class LimitsOfStreamsTests(LiveCase):
    """docs/operations.md#limits-to-know: from one address, at the limit and one past it."""

    def configure(self, config: Config) -> Config:
        self.patch(wire, "MAX_STREAMS_PER_NETWORK", 2)
        config = super().configure(config)
        return evolve(config, websocket=evolve(config.websocket, max_connections_per_ip=2))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")

    async def test_subscriptions(self) -> None:
        socket = await self.ann.graphql_socket()
        for id in ("1", "2", "3"):
            socket.say(type="subscribe", id=id, payload={"query": TOPIC, "variables": {"pattern": "a"}})
        said = await socket.inbox.next()
        self.assertEqual((said["id"], said["type"]), ("3", "error"))
        self.assertEqual(said["payload"][0]["extensions"]["code"], "TCP_CONNECTION_LIMIT")

    async def test_event_streams(self) -> None:
        for _ in range(2):
            await self.ann.stream("GET", "/api/v1/topics/a/events")
        status, answer = await self.ann.rest.ask("GET", "/api/v1/topics/a/events")
        self.assertEqual((status, answer["error"]["code"]), (503, 13))

    async def test_sockets(self) -> None:
        """One too many is opened, and closed at once; each kind has its own limit."""
        for path, protocols in (("/ws", ()), ("/graphql", ("graphql-transport-ws",))):
            sockets = [await WebSocket.open(self.address, path, protocols) for _ in range(3)]
            self.assertEqual((await sockets.pop().inbox.closed)[0], 1008)
            for socket in sockets:
                await socket.close()
