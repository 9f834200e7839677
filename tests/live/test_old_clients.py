"""Clients that were written for the predecessor of this server, word for word: they go on working."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from .clients import Rest, WebSocket
from .running import LiveCase


class HandlerClient:
    """The predecessor's example client: subscribes to topics, and calls the handler of a message's `topic`."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._handlers: dict[str, list[Any]] = {}
        self.other_types: list[str] = []

    async def subscribe(self, topic: str) -> list[Any]:
        """What is handled by the handler of `topic` from now on."""
        self.other_types.append((await self._socket.ask(type="subscribe", topic=topic))["type"])
        return self._handlers.setdefault(topic, [])

    async def handle(self, count: int) -> None:
        """Receive until the handlers were called so many times in all."""
        while sum(map(len, self._handlers.values())) < count:
            message = await self._socket.inbox.next()
            if message["type"] == "message":
                if message["topic"] in self._handlers:
                    self._handlers[message["topic"]].append(message["data"])
            else:
                self.other_types.append(message["type"])


class WebSocketTests(LiveCase):
    async def test_two_handlers_keyed_by_topic(self) -> None:
        ann = await self.person("ann")
        client = HandlerClient(await ann.websocket())
        everything = await client.subscribe("messages")
        general = await client.subscribe("messages.channel.general")
        room, _ = await client.subscribe("room.1"), await client.subscribe("room.*")
        for content, channel in (("hi", "general"), ("ho", "other")):
            fields = {"content": content, "channelId": channel}
            self.assertEqual((await ann.rest.ask("POST", "/api/messages", fields))[0], 201)
        await client.handle(3)
        self.assertEqual([said["message"]["content"] for said in everything], ["hi", "ho"])
        self.assertEqual([said["message"]["content"] for said in general], ["hi"])
        await ann.rest.ask("POST", "/api/v1/topics/room.1", {"data": 5})
        await client.handle(5)  # by `room.1` and by `room.*`, both on the topic that it was published to
        self.assertEqual(room, [5, 5])
        self.assertEqual(set(client.other_types), {"subscribed"})

    async def test_subscribing_twice(self) -> None:
        socket = await (await self.person("ann")).websocket()
        for topic in ("messages", "room.1"):
            answers = [await socket.ask(type="subscribe", topic=topic) for _ in range(2)]
            self.assertEqual([answer["type"] for answer in answers], ["subscribed"] * 2)
        socket.say(type="message", topic="room.1", data=1)
        socket.say(type="unsubscribe", topic="room.1")
        socket.say(type="message", topic="room.1", data=2)
        said = [(await socket.inbox.next())["type"] for _ in range(2)]
        self.assertEqual(said, ["message", "unsubscribed"])
        self.assertEqual((await socket.ask(type="ping"))["type"], "pong")

    async def test_a_client_of_ours_has_one_delivery_that_names_both(self) -> None:
        ann = await self.person("ann")
        socket = await ann.websocket()
        for number, topic in enumerate(("messages.channel.general", "messages")):
            self.assertEqual(
                (await socket.ask(type="subscribe", topic=topic, id=number))["type"], "subscribed"
            )
        fields = {"content": "hi", "channelId": "general"}
        _, answer = await ann.rest.ask("POST", "/api/v1/messages", fields)
        told = await socket.inbox.next()
        self.assertEqual((told["topic"], told["cursor"]), ("messages", answer["cursor"]))
        self.assertEqual(sorted(told["patterns"]), ["messages", "messages.channel.general"])
        self.assertEqual((await socket.ask(type="ping"))["type"], "pong")


class GraphQLTests(LiveCase):
    async def test_documents_with_ids_of_channels(self) -> None:
        ann = await self.person("ann")
        send = (
            "mutation($c: ID, $text: String!) { sendMessage(input: {content: $text, channelId: $c}) { id } }"
        )
        sent = await ann.rest.graphql(send, c="general", text="hi")
        read = "query($c: ID!) { channelMessages(channelId: $c) { edges { node { id channelId user { id } } } } }"
        answer = await ann.rest.graphql(read, c="general")
        message = {"id": sent["data"]["sendMessage"]["id"], "channelId": "general", "user": {"id": ann.id}}
        self.assertEqual(answer, {"data": {"channelMessages": {"edges": [{"node": message}]}}})

    async def test_subscriptions(self) -> None:
        """With a channel's id, without a user's, and to what the user has sent; the token among headers."""
        ann, bob = await self.person("ann"), await self.person("bob")
        socket = await WebSocket.open(self.address, "/graphql", ("graphql-transport-ws",))
        self.addCleanup(lambda: Deferred.fromCoroutine(socket.close()))
        headers = {"Authorization": f"Bearer {ann.token}"}
        init = await socket.ask(type="connection_init", payload={"headers": headers})
        self.assertEqual(init["type"], "connection_ack")
        documents = {
            "channel": ("subscription($c: ID) { messageSent(channelId: $c) { content } }", {"c": "general"}),
            "users": ("subscription { userUpdated { id name } }", {}),
            "own": ("subscription($u: ID!) { messageToUser(userId: $u) { content } }", {"u": ann.id}),
        }
        for id, (query, variables) in documents.items():
            socket.say(type="subscribe", id=id, payload={"query": query, "variables": variables})
        # Answered behind them: they are subscribed.
        self.assertEqual(
            (await socket.ask(type="subscribe", id="q", payload={"query": "{ me { id } }"}))["id"], "q"
        )
        self.assertEqual((await socket.inbox.next())["type"], "complete")
        await ann.rest.graphql(
            'mutation { sendMessage(input: {content: "hi", channelId: "general"}) { id } }'
        )
        await bob.rest.graphql('mutation { updateUser(input: {name: "Bobby"}) { id } }')
        told = [await socket.inbox.next() for _ in range(3)]
        self.assertEqual(
            sorted((said["id"], said["payload"]["data"]) for said in told[:2]),
            [("channel", {"messageSent": {"content": "hi"}}), ("own", {"messageToUser": {"content": "hi"}})],
        )
        updated = {"userUpdated": {"id": bob.id, "name": "Bobby"}}
        self.assertEqual((told[2]["id"], told[2]["payload"]["data"]), ("users", updated))


class TextTests(LiveCase):
    async def test_what_clients_compare(self) -> None:
        rest = Rest(self.address)
        _, missing = await rest.ask("GET", "/api/messages")
        self.assertEqual(missing["error"]["message"], "Authorization header missing")
        _, health = await rest.ask("GET", "/health")
        for dependency in health["dependencies"].values():
            self.assertIsInstance(dependency["responseTime"], int)
        socket = await WebSocket.open(self.address, protocols=("chat.v1", "json"))
        self.addCleanup(lambda: Deferred.fromCoroutine(socket.close()))
        early = await socket.ask(type="subscribe", topic="room.1")
        self.assertEqual((early["code"], early["message"]), (401, "Authentication required"))
        for fields in ({}, {"token": "nonsense"}):
            refused = await socket.ask(type="auth", **fields)
            self.assertEqual((refused["type"], refused["code"]), ("auth_error", 401))
