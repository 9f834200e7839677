"""Stop on one protocol, go on over another, at the exact message; and send the same thing twice."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace

from .clients import Person
from .running import LiveCase

TOPIC = "telemetry.engine"
QUERY = """subscription($pattern: String!, $after: String) {
  topic(pattern: $pattern, after: $after) { topic data cursor } }"""

Heard = list[tuple[object, str]]  # data and cursor


class ResumeCase(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, namespaces=(Namespace("telemetry.**", retention=86400.0),))

    async def asyncSetUp(self) -> None:
        self.ann, self.bob = await self.person("ann"), await self.person("bob")

    async def publish(self, *numbers: int) -> list[str]:
        """The cursors that the acknowledgements had."""
        cursors = []
        for number in numbers:
            status, answer = await self.ann.rest.ask("POST", f"/api/v1/topics/{TOPIC}", {"data": number})
            assert status == 202, answer
            cursors.append(answer["data"]["cursor"])
        return cursors


# Each takes `count` deliveries behind `after` and hangs up.


async def by_tcp(person: Person, after: str | None, count: int) -> Heard:
    device = await person.device()
    kind, subscribed = await device.ask(0x10, topic="telemetry.*", **({"after": after} if after else {}))
    assert (kind, subscribed["retention"]) == (0x12, "log"), subscribed
    assert after is None or subscribed["recovered"], subscribed
    heard: Heard = []
    while len(heard) < count:
        kind, said = await device.inbox.next()
        if kind == 0x21:
            heard.append((said["content"], said["cursor"]))
    await device.close()
    return heard


async def by_websocket(person: Person, after: str, count: int) -> Heard:
    socket = await person.websocket()
    subscribed = await socket.ask(type="subscribe", topic="telemetry.**", after=after)
    assert (subscribed["recovered"], subscribed["cursor"]) == (True, after), subscribed
    heard: Heard = []
    while len(heard) < count:
        said = await socket.inbox.next()
        if said["type"] == "message":
            heard.append((said["data"], said["cursor"]))
    await socket.close()
    return heard


async def by_rest_stream(person: Person, after: str, count: int) -> Heard:
    events = await person.stream("GET", f"/api/v1/topics/{TOPIC}/events?after={after}")
    _, subscribed = await events.inbox.next()
    assert subscribed["recovered"], subscribed
    heard: Heard = []
    while len(heard) < count:
        event, said = await events.inbox.next()
        if event == "message":
            heard.append((said["data"], said["cursor"]))
    events.hang_up()
    return heard


async def by_graphql_socket(person: Person, after: str, count: int) -> Heard:
    socket = await person.graphql_socket()
    variables = {"pattern": "*.engine", "after": after}
    socket.say(type="subscribe", id="1", payload={"query": QUERY, "variables": variables})
    heard: Heard = []
    while len(heard) < count:
        said = await socket.inbox.next()
        delivery = said["payload"]["data"]["topic"]
        assert said["payload"]["extensions"]["cursor"] == delivery["cursor"]
        heard.append((delivery["data"], delivery["cursor"]))
    await socket.close()
    return heard


async def by_graphql_stream(person: Person, after: str, count: int) -> Heard:
    body = {"query": QUERY, "variables": {"pattern": "telemetry.**", "after": after}}
    events = await person.stream("POST", "/graphql", body)
    heard: Heard = []
    while len(heard) < count:
        _, said = await events.inbox.next()
        delivery = said["data"]["topic"]
        heard.append((delivery["data"], delivery["cursor"]))
    events.hang_up()
    return heard


class ResumeTests(ResumeCase):
    async def test_from_protocol_to_protocol(self) -> None:
        """Ten on TCP, then on over each of the others in turn: each exactly once, in order."""
        first = Deferred.fromCoroutine(by_tcp(self.bob, None, 10))
        while not any("telemetry" in pattern for pattern in self.patterns()):
            await self.bob.rest.ask("GET", "/health/live")
        cursors = await self.publish(*range(10))
        heard = await first
        self.assertEqual(heard, list(zip(range(10), cursors)))
        for number, follow in enumerate((by_websocket, by_rest_stream, by_graphql_socket, by_graphql_stream)):
            missed = range(10 + 5 * number, 15 + 5 * number)
            cursors += await self.publish(*missed)
            heard += await follow(self.bob, heard[-1][1], 5)
        heard += await self.last(heard[-1][1], cursors)
        self.assertEqual(heard, list(zip(range(35), cursors)))

    async def last(self, after: str, cursors: list[str]) -> Heard:
        """Missed and new ones over one connection."""
        cursors += await self.publish(*range(30, 33))
        following = Deferred.fromCoroutine(by_tcp(self.bob, after, 5))
        cursors += await self.publish(33, 34)
        return await following

    def patterns(self) -> list[str]:
        return [
            pattern
            for server in self.running
            for session in server.getServiceNamed("hub")
            for pattern in session._subscriptions._by_pattern
        ]

    async def test_a_list_and_a_write_say_where_to_go_on(self) -> None:
        """Read a list, then follow what came behind it; the answer of a write is where its delivery is."""
        await self.send("before")
        _, page = await self.bob.rest.ask("GET", "/api/v1/messages")
        _, answer = await self.send("after")
        await self.told_everywhere()  # else it may come behind `caught_up`, as what happens
        socket = await self.bob.websocket()
        await socket.ask(type="subscribe", topic="messages", after=page["cursor"])
        said = await socket.inbox.next()
        self.assertEqual(said["data"]["message"]["content"], "after")
        self.assertEqual((said["cursor"], said["replay"]), (answer["cursor"], "messages"))
        said = await socket.inbox.next()
        self.assertEqual(
            (said["type"], said["topic"], said["cursor"]), ("caught_up", "messages", answer["cursor"])
        )

    async def send(self, content: str) -> Any:
        return await self.ann.rest.ask("POST", "/api/v1/messages", {"content": content, "channelId": "c"})

    async def test_an_acknowledgement_is_durable_and_has_its_cursor(self) -> None:
        """On a logged topic over WebSocket and TCP: in order, whatever was sent ahead of it."""
        socket, device = await self.ann.websocket(), await self.ann.device()
        for number in range(100):
            socket.say(type="message", topic=TOPIC, data=number, id=number)
            device.say(0x20, topic=TOPIC, content=number, id=number)
        acks = [await socket.inbox.next() for _ in range(100)]
        frames = [await device.inbox.next() for _ in range(100)]
        self.assertEqual([(ack["type"], ack["id"]) for ack in acks], [("ack", n) for n in range(100)])
        self.assertEqual([(kind, said["id"]) for kind, said in frames], [(0x22, n) for n in range(100)])
        places = [int(said["cursor"].rpartition(".")[2]) for said in (*acks, *(said for _, said in frames))]
        self.assertEqual(len(set(places)), 200)
        self.assertEqual(places[:100], sorted(places[:100]))
        kept = await self.server.getServiceNamed("store").read_after(0, 1000)
        self.assertEqual(len([entry for entry in kept if entry.event.type == "publication"]), 200)


class RestoredTests(ResumeCase):
    async def test_a_restored_backup(self) -> None:
        """Cursors of what the backup never saw are told so, also when the log has grown past them again."""
        await self.publish(1, 2)
        old = (await self.publish(3))[0]
        await self.stop()
        backup = Path(self.config.storage.directory) / "copy"
        backup.mkdir()
        database = Path(self.config.storage.directory) / "multiproto.db"
        shutil.copy(database, backup / database.name)
        await self.start_again()
        lost = (await self.publish(4))[0]
        await self.stop()
        shutil.copy(backup / database.name, database)
        await self.start_again()
        await self.publish(5, 6, 7)
        for after, recovered in ((old, True), (lost, False)):
            socket = await self.bob.websocket()
            said = await socket.ask(type="subscribe", topic="telemetry.**", after=after)
            self.assertEqual(said["recovered"], recovered, after)
            if recovered:
                self.assertEqual([(await socket.inbox.next())["data"] for _ in range(3)], [5, 6, 7])

    async def start_again(self) -> None:
        """The same configuration, another server, and the same people."""
        self.addresses.clear()
        self.server = await self.start_one(self.config)
        (self.address,) = self.addresses
        for person in (self.ann, self.bob):
            person.address = person.rest.address = self.address


class IdempotenceTests(ResumeCase):
    async def kept(self) -> int:
        """How many messages and publications there are."""
        entries = await self.server.getServiceNamed("store").read_after(0, 1000)
        return len([entry for entry in entries if entry.event.type in ("message.sent", "publication")])

    async def test_messages(self) -> None:
        """One effect and one answer, by REST or GraphQL or both; another body is a conflict."""
        body = {"content": "once", "channelId": "c"}

        async def by_rest(key: str, **changes: str) -> Any:
            return await self.ann.rest.ask(
                "POST", "/api/v1/messages", {**body, **changes}, **{"Idempotency-Key": key}
            )

        async def by_graphql(key: str, **changes: str) -> Any:
            query = """mutation($input: SendMessageInput!, $key: String) {
              sendMessage(input: $input, idempotencyKey: $key) { id createdAt } }"""
            return await self.ann.rest.graphql(query, input={**body, **changes}, key=key)

        answers = await gatherResults([Deferred.fromCoroutine(by_rest("k")) for _ in range(8)])
        self.assertEqual({status for status, _ in answers}, {201})
        ids = {(answer["data"]["id"], answer["data"]["createdAt"], answer["cursor"]) for _, answer in answers}
        self.assertEqual((len(ids), await self.kept()), (1, 1))
        [(id, at, cursor)] = ids
        again = await by_graphql("k")
        self.assertEqual(again["data"]["sendMessage"], {"id": id, "createdAt": at})
        self.assertEqual(again["extensions"]["cursor"], cursor)
        status, answer = await by_rest("k", content="twice")
        self.assertEqual((status, answer["error"]["code"]), (409, 6))
        answer = await by_graphql("k", content="twice")
        self.assertEqual(answer["errors"][0]["extensions"]["code"], "CONFLICT")
        self.assertEqual(await self.kept(), 1)
        status, _ = await self.bob.rest.ask("POST", "/api/v1/messages", body, **{"Idempotency-Key": "k"})
        self.assertEqual((status, await self.kept()), (201, 2))

    async def test_publications(self) -> None:
        """On all four protocols one key is one publication."""
        socket, device = await self.ann.websocket(), await self.ann.device()
        path = f"/api/v1/topics/{TOPIC}"
        _, first = await self.ann.rest.ask("POST", path, {"data": 1}, **{"Idempotency-Key": "k"})
        cursor = first["data"]["cursor"]
        said = await socket.ask(type="message", topic=TOPIC, data=1, key="k", id=1)
        self.assertEqual((said["type"], said["cursor"]), ("ack", cursor))
        self.assertEqual(
            await device.ask(0x20, topic=TOPIC, content=1, key="k", id=1), (0x22, {"id": 1, "cursor": cursor})
        )
        query = (
            'mutation($topic: String!) { publish(topic: $topic, data: 1, idempotencyKey: "k") { cursor } }'
        )
        answer = await self.ann.rest.graphql(query, topic=TOPIC)
        self.assertEqual(answer["data"]["publish"]["cursor"], cursor)
        said = await socket.ask(type="message", topic=TOPIC, data=2, key="k", id=2)
        self.assertEqual((said["code"], said["name"], said["id"]), (409, "CONFLICT", 2))
        kind, refused = await device.ask(0x20, topic=TOPIC, content=2, key="k", id=2)
        self.assertEqual((kind, refused["code"], refused["id"]), (0xFF, "6", 2))
        self.assertEqual(await self.kept(), 1)

    async def test_what_is_no_key(self) -> None:
        """1 to 128 printable characters."""
        socket = await self.ann.websocket()
        for key, taken in (("x", True), ("x" * 128, True), ("", False), ("x" * 129, False), ("a\nb", False)):
            said = await socket.ask(type="message", topic=TOPIC, data=1, key=key, id=1)
            self.assertEqual(said["type"], "ack" if taken else "error", key)
