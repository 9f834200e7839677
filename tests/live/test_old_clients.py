"""Clients that were written for the predecessor of this server, word for word: they go on working."""

from __future__ import annotations

from typing import Any

from .clients import WebSocket
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
