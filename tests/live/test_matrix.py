"""Four protocols, one conversation: what any of them sends, all of them hear."""

from __future__ import annotations

from typing import Any, Awaitable, Callable
from urllib.parse import quote

from .clients import Device, Person, WebSocket, frame
from .running import LiveCase

Next = Callable[[], Awaitable[Any]]
TOPIC_QUERY = "subscription($pattern: String!) { topic(pattern: $pattern) { topic data metadata } }"


# Receivers: each gives a function that awaits the next (topic, content, sender or event type).


async def by_websocket(person: Person, pattern: str) -> Next:
    socket = await person.websocket()
    assert (await socket.ask(type="subscribe", topic=pattern))["type"] == "subscribed"

    async def heard() -> Any:
        said = await socket.inbox.next()
        assert said["type"] == "message", said
        return said["topic"], said["data"], told_by(said["metadata"])

    return heard


async def by_tcp(person: Person, pattern: str) -> Next:
    device = await person.device()
    assert (await device.ask(0x10, topic=pattern))[0] == 0x12

    async def heard() -> Any:
        kind, said = await device.inbox.next()
        assert kind == 0x21, (kind, said)
        return said["topic"], said["content"], told_by(said["metadata"])

    return heard


async def by_graphql_socket(person: Person, pattern: str) -> Next:
    socket = await person.graphql_socket()
    payload = {"query": TOPIC_QUERY, "variables": {"pattern": pattern}}
    socket.say(type="subscribe", id="1", payload=payload)
    # The protocol has no word for "subscribed"; what is asked behind it is answered behind it.
    assert (await socket.ask(type="ping"))["type"] == "pong"

    async def heard() -> Any:
        said = await socket.inbox.next()
        assert said["type"] == "next", said
        delivery = said["payload"]["data"]["topic"]
        return delivery["topic"], delivery["data"], told_by(delivery["metadata"])

    return heard


async def by_graphql_stream(person: Person, pattern: str) -> Next:
    events = await person.stream(
        "POST", "/graphql", {"query": TOPIC_QUERY, "variables": {"pattern": pattern}}
    )

    async def heard() -> Any:
        event, said = await events.inbox.next()
        assert event == "next", (event, said)
        delivery = said["data"]["topic"]
        return delivery["topic"], delivery["data"], told_by(delivery["metadata"])

    return heard


async def by_rest_stream(person: Person, pattern: str) -> Next:
    events = await person.stream("GET", f"/api/v1/topics/{quote(pattern, safe='')}/events")
    event, said = await events.inbox.next()
    assert event == "subscribed", (event, said)

    async def heard() -> Any:
        event, said = await events.inbox.next()
        assert event == "message", (event, said)
        return said["topic"], said["data"], told_by(said["metadata"])

    return heard


RECEIVERS = (by_websocket, by_tcp, by_graphql_socket, by_graphql_stream, by_rest_stream)


def told_by(metadata: dict[str, Any]) -> str:
    return metadata.get("senderId") or metadata["eventType"]


# Senders of a publication.


async def publish_by_rest(person: Person, topic: str, data: object) -> None:
    status, answer = await person.rest.ask("POST", f"/api/v1/topics/{topic}", {"data": data})
    assert status == 202, answer


async def publish_by_graphql(person: Person, topic: str, data: object) -> None:
    query = "mutation($topic: String!, $data: JSON) { publish(topic: $topic, data: $data) { topic } }"
    answer = await person.rest.graphql(query, topic=topic, data=data)
    assert answer["data"] == {"publish": {"topic": topic}}, answer


async def publish_by_websocket(person: Person, topic: str, data: object) -> None:
    socket = await person.websocket()
    answer = await socket.ask(type="message", topic=topic, data=data, id="m")
    assert (answer["type"], answer["id"]) == ("ack", "m"), answer


async def publish_by_tcp(person: Person, topic: str, data: object) -> None:
    device = await person.device()
    assert (await device.ask(0x20, topic=topic, content=data, id="m")) == (0x22, {"id": "m"})


PUBLISHERS = (publish_by_rest, publish_by_graphql, publish_by_websocket, publish_by_tcp)


# Senders of a message: the protocols that can write one.


async def send_by_rest(person: Person, **fields: str) -> str:
    status, answer = await person.rest.ask("POST", "/api/v1/messages", fields)
    assert status == 201, answer
    return str(answer["data"]["id"])


async def send_by_graphql(person: Person, **fields: str) -> str:
    query = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { id } }"
    answer = await person.rest.graphql(query, input=fields)
    return str(answer["data"]["sendMessage"]["id"])


SENDERS = (send_by_rest, send_by_graphql)


class MatrixTests(LiveCase):
    async def asyncSetUp(self) -> None:
        self.ann, self.bob = await self.person("ann"), await self.person("bob")

    async def test_publications(self) -> None:
        """Four senders, five receivers, no empty cell, one order."""
        ears = [await receiver(self.bob, "room.*") for receiver in RECEIVERS]
        for publish in PUBLISHERS:
            await publish(self.ann, "room.7", {"by": publish.__name__})
        expected = [("room.7", {"by": publish.__name__}, self.ann.id) for publish in PUBLISHERS]
        for receiver, ear in zip(RECEIVERS, ears):
            self.assertEqual([await ear() for _ in PUBLISHERS], expected, receiver.__name__)

    async def test_messages(self) -> None:
        """Both senders, five receivers, on all three topics of a message."""
        topics = ("messages", f"messages.user.{self.ann.id}", "messages.channel.c%2E9")
        for topic, listener in zip(topics, (self.bob, self.ann, self.bob)):
            ears = [await receiver(listener, topic) for receiver in RECEIVERS]
            ids = [await send(self.ann, content="hello", channelId="c.9") for send in SENDERS]
            for receiver, ear in zip(RECEIVERS, ears):
                heard = [await ear() for _ in SENDERS]
                self.assertEqual(
                    [(where, data["message"]["id"], kind) for where, data, kind in heard],
                    [(topic, id, "message.sent") for id in ids],
                    receiver.__name__,
                )

    async def test_one_delivery_for_two_overlapping_patterns(self) -> None:
        """On a connection that has all of them; and one for an event on three topics.

        docs/common.md#topics-and-patterns
        """
        socket, device = await self.bob.websocket(), await self.bob.device()
        patterns = ["messages.**", "messages", "**"]
        for number, pattern in enumerate(patterns):
            await socket.ask(type="subscribe", topic=pattern, id=number)
            await device.ask(0x10, topic=pattern, id=number)
        for content in ("one", "two"):
            await send_by_rest(self.ann, content=content, channelId="c")
        for content in ("one", "two"):
            said = await socket.inbox.next()
            self.assertEqual((said["topic"], said["data"]["message"]["content"]), ("messages", content))
            self.assertEqual(sorted(said["patterns"]), sorted(patterns))
            kind, said = await device.inbox.next()
            self.assertEqual(sorted(said["patterns"]), sorted(patterns))
            self.assertEqual(
                (kind, said["topic"], said["content"]["message"]["content"]), (0x21, "messages", content)
            )
        self.assertEqual((socket.inbox.rest(), device.inbox.rest()), ([], []))

    async def test_order_behind_a_slow_auth(self) -> None:
        """AUTH, SUBSCRIBE and MESSAGE in one write, each obeyed after the one before.

        docs/predecessor-faults.md#fault-22
        """
        device = await Device.open(self.address)
        device.transport.write(
            frame(0x01, token=self.ann.token)
            + frame(0x10, topic="room.1")
            + frame(0x20, topic="room.1", content=1, id="a")
            + frame(0x30)
        )
        self.assertEqual([(await device.inbox.next())[0] for _ in range(5)], [0x02, 0x12, 0x21, 0x22, 0x31])
        await device.close()
        socket = await WebSocket.open(self.address)
        socket.say(type="auth", token=self.ann.token)
        socket.say(type="subscribe", topic="room.1")
        socket.say(type="message", topic="room.1", data=1, id="a")
        socket.say(type="ping")
        self.assertEqual(
            [(await socket.inbox.next())["type"] for _ in range(5)],
            ["auth_success", "subscribed", "message", "ack", "pong"],
        )
        await socket.close()


class PrivacyTests(LiveCase):
    """A direct message is unseen by a third user on every road.

    docs/predecessor-faults.md#fault-12, docs/predecessor-faults.md#fault-13
    """

    async def asyncSetUp(self) -> None:
        self.ann, self.bob, self.eve = [await self.person(name) for name in ("ann", "bob", "eve")]

    async def test_subscriptions(self) -> None:
        """The widest patterns there are, on every receiver; what is public behind it still comes."""
        patterns = ("**", "messages.**", "messages.user.*", "*.user.**")
        ears = [
            (receiver, await receiver(self.eve, pattern))
            for receiver in RECEIVERS
            for pattern in patterns[:2]
        ]
        narrow = [await receiver(self.eve, pattern) for receiver in RECEIVERS for pattern in patterns[2:]]
        owner = [await receiver(self.bob, "messages.**") for receiver in RECEIVERS]
        for send in SENDERS:
            await send(self.ann, content="psst", recipientId=self.bob.id)
            await send(self.ann, content="psst", recipientId=self.bob.id, channelId="c")
        await send_by_rest(self.ann, content="public", channelId="c")
        for receiver, ear in ears:
            topic, data, _ = await ear()
            self.assertEqual(data["message"]["content"], "public", receiver.__name__)
        for hear in owner:
            contents = [(await hear())[1]["message"]["content"] for _ in range(5)]
            self.assertEqual(contents, ["psst"] * 4 + ["public"])
        await send_by_rest(self.ann, content="for eve", recipientId=self.eve.id)
        for hear in narrow:
            self.assertEqual((await hear())[1]["message"]["content"], "for eve")

    async def test_reads(self) -> None:
        """Every route, list, total and field."""
        id = await send_by_rest(self.ann, content="psst", recipientId=self.bob.id, channelId="c")
        for person, visible in ((self.bob, True), (self.eve, False)):
            for path in (
                "/messages",
                "/messages?channelId=c",
                f"/messages?userId={self.ann.id}",
                f"/messages?userId={self.ann.id}&channelId=c",
                f"/messages/user/{self.ann.id}",
                "/messages/channel/c",
            ):
                status, answer = await person.rest.ask("GET", f"/api/v1{path}")
                page = answer["data"]
                self.assertEqual((len(page["data"]), page["pagination"]["total"]), (visible, visible), path)
            status, _ = await person.rest.ask("GET", f"/api/v1/messages/{id}")
            self.assertEqual(status, 200 if visible else 404)
            status, _ = await person.rest.ask("DELETE", f"/api/v1/messages/{id}")
            self.assertEqual(status, 403 if visible else 404)
            answer = await person.rest.graphql(
                """query($ann: ID!, $id: ID!) {
                  messages { ...page } userMessages(userId: $ann) { ...page }
                  channelMessages(channelId: "c") { ...page } user(id: $ann) { messages { ...page } }
                  message(id: $id) { content }
                }
                fragment page on MessageConnection { edges { node { content } } pageInfo { total } }""",
                ann=self.ann.id,
                id=id,
            )
            data = answer["data"]
            pages = [
                data["messages"],
                data["userMessages"],
                data["channelMessages"],
                data["user"]["messages"],
            ]
            self.assertEqual(
                [(len(p["edges"]), p["pageInfo"]["total"]) for p in pages], [(visible, visible)] * 4
            )
            self.assertEqual(data["message"], {"content": "psst"} if visible else None)

    async def test_others_topics_are_refused(self) -> None:
        """At once, by one name on every protocol."""
        theirs = f"messages.user.{self.bob.id}"
        socket, device = await self.eve.websocket(), await self.eve.device()
        answer = await socket.ask(type="subscribe", topic=theirs)
        self.assertEqual((answer["code"], answer["name"]), (403, "FORBIDDEN"))
        kind, said = await device.ask(0x10, topic=theirs)
        self.assertEqual((kind, said["code"]), (0xFF, "5"))
        status, body = await self.eve.rest.ask("GET", f"/api/v1/topics/{theirs}/events")
        self.assertEqual((status, body["error"]["code"]), (403, 5))
        graphql = await self.eve.graphql_socket()
        for query in (
            f'{{ topic(pattern: "{theirs}") {{ data }} }}',
            f'{{ messageToUser(userId: "{self.bob.id}") {{ id }} }}',
        ):
            said = await graphql.ask(type="subscribe", id="1", payload={"query": f"subscription {query}"})
            self.assertEqual((said["type"], said["payload"][0]["extensions"]["code"]), ("error", "FORBIDDEN"))
        for attempt in (
            self.eve.rest.ask("POST", "/api/v1/topics/users", {"data": 1}),
            self.eve.rest.ask("POST", f"/api/v1/topics/{theirs}", {"data": 1}),
        ):
            self.assertEqual((await attempt)[0], 403)
