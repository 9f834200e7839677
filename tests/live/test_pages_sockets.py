"""Answers of docs/client-libraries.md, docs/tcp.md and docs/websocket.md, asked of a real server on both wires alike."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, evolve

from multiproto.config import Config
from multiproto.core.pubsub.namespaces import Namespace
from multiproto.core.ratelimit.token_bucket import Rate

from .clients import Device, Inbox, Person, WebSocket, frame
from .running import LiveCase

MIB = 1_048_576  # bytes
SMALL = 16_384  # bytes, before authentication
TCP_TYPES = {"auth": 0x01, "subscribe": 0x10, "unsubscribe": 0x11, "message": 0x20, "ping": 0x30}
TCP_REPLIES = {
    0x02: "auth_success",
    0x03: "auth_error",
    0x04: "expiring",
    0x12: "subscribed",
    0x13: "unsubscribed",
    0x14: "caught_up",
    0x21: "message",
    0x22: "ack",
    0x31: "pong",
    0xFF: "error",
}


@define(eq=False)
class Peer:
    """A connection of either wire, in the words of WebSocket."""

    _connection: Device | WebSocket

    @property
    def inbox(self) -> Inbox:
        return self._connection.inbox

    def say(self, *messages: dict[str, Any]) -> None:
        """Send all of `messages` without waiting; on TCP in one write."""
        if isinstance(self._connection, WebSocket):
            for message in messages:
                self._connection.say(**message)
        else:
            self._connection.transport.write(b"".join(map(_tcp_frame, messages)))

    async def next(self) -> Any:
        said = await self.inbox.next()
        if isinstance(self._connection, WebSocket):
            return said
        kind, fields = said
        named = {"content": "data", "error": "message"}
        return {"type": TCP_REPLIES[kind], **{named.get(name, name): value for name, value in fields.items()}}

    async def ask(self, **message: Any) -> Any:
        self.say(message)
        return await self.next()

    async def until(self, type: str) -> list[Any]:
        """All that comes, up to the next of that type."""
        said = [await self.next()]
        while said[-1]["type"] != type:
            said.append(await self.next())
        return said

    async def closed(self) -> Any:
        return await self.inbox.closed


def _tcp_frame(message: dict[str, Any]) -> bytes:
    fields = {("content" if name == "data" else name): value for name, value in message.items()}
    return frame(TCP_TYPES[fields.pop("type")], **fields)


class SocketPageCase(LiveCase):
    wire: str

    def configure(self, config: Config) -> Config:
        return evolve(super().configure(config), namespaces=(Namespace("log.**"),))

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")
        self.peer = await self.peer_of(self.ann)

    async def peer_of(self, person: Person) -> Peer:
        return Peer(await (person.device() if self.wire == "tcp" else person.websocket()))

    async def stranger(self) -> Peer:
        """Connected, and not authenticated."""
        opened = await (Device if self.wire == "tcp" else WebSocket).open(
            self.address, *(() if self.wire == "tcp" else ("/ws",))
        )
        self.addCleanup(opened.close)
        return Peer(opened)

    async def publish(self, topic: str, *data: object) -> list[str]:
        """Publish each over REST; the cursors of the answers."""
        cursors = []
        for each in data:
            status, answer = await self.ann.rest.ask("POST", f"/api/v1/topics/{topic}", {"data": each})
            assert status == 202, answer
            cursors.append(answer["data"].get("cursor"))
        return cursors


class SocketPages:
    """What holds on both wires; the classes below run it."""

    async def test_what_is_in_order(self: Any) -> None:
        """docs/client-libraries.md#what-is-in-order"""
        commands: list[dict[str, Any]] = []
        for number in range(200):
            topic = f"log.{number}"
            commands += [
                {"type": "subscribe", "topic": topic, "id": f"s{number}"},
                {"type": "message", "topic": topic, "data": number, "id": f"m{number}"},
                {"type": "unsubscribe", "topic": topic, "id": f"u{number}"},
            ]
        self.peer.say(*commands, {"type": "message", "topic": "log.end", "data": None, "id": "end"})
        said = []
        while not said or said[-1].get("id") != "end" or said[-1]["type"] != "ack":
            said.append(await self.peer.next())
        others = [each["id"] for each in said if each["type"] in ("subscribed", "unsubscribed")]
        self.assertEqual(others, [f"{kind}{number}" for number in range(200) for kind in "su"])
        acks = [each["id"] for each in said if each["type"] == "ack"]
        self.assertEqual(acks, [f"m{number}" for number in range(200)] + ["end"])
        opened: set[str] = set()
        for each in said:
            if each["type"] == "subscribed":
                opened.add(each["topic"])
            elif each["type"] == "unsubscribed":
                opened.remove(each["topic"])
            elif each["type"] == "message":
                self.assertIn(each["topic"], opened)

    async def test_ones_own_message_and_its_ack(self: Any) -> None:
        """docs/client-libraries.md#what-is-in-order: on a live topic the message comes first; both come in any case."""
        for topic in ("live.a", "log.a"):
            await self.peer.ask(type="subscribe", topic=topic)
            for number in range(50):
                self.peer.say({"type": "message", "topic": topic, "data": number, "id": number})
                said = [(await self.peer.next())["type"] for _ in range(2)]
                self.assertEqual(sorted(said), ["ack", "message"])
                if topic == "live.a":
                    self.assertEqual(said, ["message", "ack"])

    async def test_odd_cursors(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges"""
        [cursor] = await self.publish("log.a", 1)
        said = await self.peer.ask(type="subscribe", topic="live.a", after=cursor)
        self.assertEqual((said["retention"], "recovered" in said, "cursor" in said), ("live", False, False))
        for number, after in enumerate(("", "garbage", f"{'0' * 16}.1", cursor + "0")):
            said = await self.peer.ask(type="subscribe", topic=f"log.{number}", after=after)
            self.assertEqual((said["retention"], said["recovered"]), ("log", False), after)
            await self.publish(f"log.{number}", number)
            self.assertEqual((await self.peer.next())["data"], number)  # it starts now
        said = await self.peer.ask(type="subscribe", topic="log.null", after=None)
        self.assertEqual(("recovered" in said, said["retention"]), (False, "log"))
        for after in (0, 1.5, False, [], {}):
            said = await self.peer.ask(type="subscribe", topic="log.x", after=after)
            self.assertEqual(said["type"], "error", after)
            self.assertIn(str(said["code"]), ("2", "400"))

    async def test_two_stars_may_stand_for_no_word(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges"""
        for pattern in ("a.**", "**.a", "a.**.b", "**"):
            await self.peer.ask(type="subscribe", topic=pattern, id=1)
        for topic, covered in (
            ("a", {"a.**", "**.a", "**"}),
            ("a.b", {"a.**", "a.**.b", "**"}),
            ("a.x.y.b", {"a.**", "a.**.b", "**"}),
            ("b.a", {"**.a", "**"}),
        ):
            await self.publish(topic, 1)
            self.assertEqual(set((await self.peer.next())["patterns"]), covered, topic)

    async def test_ids(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: given back as they came."""
        ids = (0, -7, 1.5, 2**64, -(2**64), 10**100, 1e300, "", "é" * 255)
        for id in ids:
            said = await self.peer.ask(type="unsubscribe", topic="t", id=id)
            self.assertEqual(json.dumps(said["id"]), json.dumps(id))
        for id in (True, [], {}, "x" * 256):
            said = await self.peer.ask(type="unsubscribe", topic="t", id=id)
            self.assertEqual((said["type"], "id" in said), ("error", False), id)
        said = await self.peer.ask(type="subscribe", topic="t", id=None)
        self.assertEqual((said["type"], "id" in said), ("subscribed", False))

    async def test_one_subscription_too_many(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: no time helps, so it has no `retryAfter`."""
        for number in range(100):
            self.assertEqual(
                (await self.peer.ask(type="subscribe", topic=f"t.{number}"))["type"], "subscribed"
            )
        said = await self.peer.ask(type="subscribe", topic="t.100", id="x")
        self.assertIn(str(said["code"]), ("7", "429"))
        self.assertEqual((said["id"], "retryAfter" in said), ("x", False))

    async def test_what_an_ack_on_a_live_topic_says(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: nobody has to listen, and it has no cursor."""
        said = await self.peer.ask(type="message", topic="nobody.hears", data=1, id="x")
        self.assertEqual((said["type"], said["id"], "cursor" in said), ("ack", "x", False))

    async def test_a_refused_second_login(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: subscriptions and rights stay."""
        bob = await self.person("bob")
        await self.peer.ask(type="subscribe", topic=f"messages.user.{self.ann.id}", id=1)
        for token, code in (("nonsense", ("4", "401")), (bob.token, ("6", "409"))):
            said = await self.peer.ask(type="auth", token=token)
            self.assertEqual(said["type"], "auth_error")
            self.assertIn(str(said["code"]), code)
        await bob.rest.ask("POST", "/api/v1/messages", {"content": "psst", "recipientId": self.ann.id})
        self.assertEqual((await self.peer.next())["data"]["message"]["content"], "psst")
        self.assertEqual((await self.peer.ask(type="auth", token=self.ann.token))["type"], "auth_success")

    async def test_unsubscribing_while_catching_up(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: nothing comes behind `unsubscribed`."""
        first, *_ = await self.publish("log.a", *range(300))
        await self.told_everywhere()
        self.peer.say(
            {"type": "subscribe", "topic": "log.a", "after": first},
            {"type": "unsubscribe", "topic": "log.a"},
            {"type": "message", "topic": "log.a", "data": "more", "id": "end"},
        )
        said = await self.peer.until("ack")
        kinds = [each["type"] for each in said]
        self.assertEqual(kinds[0], "subscribed")
        self.assertEqual(kinds[kinds.index("unsubscribed") :], ["unsubscribed", "ack"])
        self.assertNotIn("caught_up", kinds)
        replayed = [each["data"] for each in said if each["type"] == "message"]
        self.assertEqual(replayed, list(range(1, 1 + len(replayed))))

    async def test_a_credential_is_warned_of(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: as a token is, and another extends the connection."""
        short = await self.credential("short", expiresIn="5s")
        endless = await self.credential("endless")
        peer = await self.stranger()
        self.assertEqual((await peer.ask(type="auth", token=short))["type"], "auth_success")
        said = await peer.next()
        self.assertEqual(said["type"], "expiring")
        self.assertRegex(said["expiresAt"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual((await peer.ask(type="auth", token=endless))["type"], "auth_success")

    async def credential(self: Any, name: str, **fields: Any) -> str:
        grants = [{"pattern": "room.**", "verbs": ["subscribe"]}]
        status, answer = await self.ann.rest.ask(
            "POST", "/api/v1/auth/credentials", {"name": name, "grants": grants, **fields}
        )
        assert status == 201, answer
        return str(answer["data"]["credential"])

    async def test_the_id_of_a_delivery(self: Any) -> None:
        """On both wires: docs/tcp.md#what-you-receive, docs/websocket.md#messages"""
        await self.peer.ask(type="subscribe", topic="**", id=1)
        status, answer = await self.ann.rest.ask("POST", "/api/v1/topics/live.a", {"data": 1})
        self.assertEqual((await self.peer.next())["id"], answer["data"]["id"])
        await self.ann.rest.ask("POST", "/api/v1/messages", {"content": "hi", "channelId": "c"})
        said = await self.peer.next()
        self.assertEqual(said["id"], said["metadata"]["eventId"])

    async def test_the_depth_of_json(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: 64 levels of the whole text, so `data` has 63."""
        self.assertEqual(
            (await self.peer.ask(type="message", topic="t", data=nested(63), id=1))["type"], "ack"
        )
        said = await self.peer.ask(type="message", topic="t", data=nested(64), id=1)
        self.assertEqual((said["type"], str(said["code"]) in ("2", "11")), ("error", True))

    async def test_the_largest_delivery(self: Any) -> None:
        """docs/client-libraries.md#at-the-edges: fits the limit that clients have, too."""
        await self.peer.ask(type="subscribe", topic="log.**", id=1)
        largest = {"data": "x" * 999_998, "metadata": {"m": "y" * 9_992}}
        status, answer = await self.ann.rest.ask("POST", "/api/v1/topics/log.a", largest)
        self.assertEqual(status, 202, answer)
        said = await self.peer.next()
        self.assertEqual((said["data"], said["metadata"]["m"]), (largest["data"], largest["metadata"]["m"]))
        self.assertLess(len(json.dumps(said).encode()), MIB)
        for more in ({"data": "x" * 999_999}, {"data": 1, "metadata": {"m": "y" * 9_993}}):
            status, _ = await self.ann.rest.ask("POST", "/api/v1/topics/log.a", more)
            self.assertIn(status, (400, 413))

    async def test_the_limit_of_a_message(self: Any) -> None:
        """At it and past it: docs/tcp.md#limits, docs/websocket.md#limits"""
        for size, kinds in ((MIB, ["error"]), (MIB + 1, ["error"] if self.wire == "tcp" else [])):
            peer = await self.peer_of(self.ann)
            peer.say(padded(self.wire, size))
            if size == MIB:  # read, and its data is over another limit
                self.assertIn(str((await peer.next())["code"]), ("8", "413"))
                continue
            said = [await peer.next() for _ in kinds]
            self.assertEqual([each["code"] for each in said], ["10"][: len(kinds)])
            if self.wire == "websocket":
                self.assertEqual((await peer.closed())[0], 1009)

    async def test_the_limit_before_authentication(self: Any) -> None:
        """At it and past it: docs/common.md#before-authentication"""
        for size in (SMALL, SMALL + 1):
            peer = await self.stranger()
            peer.say(padded(self.wire, size))
            if size == SMALL:
                self.assertIn(str((await peer.next())["code"]), ("4", "401"))
            elif self.wire == "tcp":
                self.assertEqual((await peer.next())["code"], "10")
            else:
                self.assertEqual((await peer.closed())[0], 1009)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def padded(wire: str, size: int) -> dict[str, Any]:
    """A publication of exactly `size` bytes, as that wire counts them."""
    message = {"type": "message", "topic": "t", "data": ""}
    have = len(_tcp_frame(message)) - 4 if wire == "tcp" else len(json.dumps(message))
    return {**message, "data": "x" * (size - have)}


class TcpPageTests(SocketPages, SocketPageCase):
    """docs/tcp.md"""

    wire = "tcp"

    async def test_a_pong_has_what_its_ping_had(self) -> None:
        """docs/tcp.md#what-you-receive"""
        device = await self.ann.device()
        kind, said = await device.ask(0x30)
        self.assertEqual((kind, list(said), type(said["timestamp"])), (0x31, ["timestamp"], int))
        for sent in ({"timestamp": "mine", "a": [1, {"b": None}]}, {"timestamp": 0}):
            self.assertEqual(await device.ask(0x30, **sent), (0x31, sent))
        for text in ("[1]", '"x"', "1.5", "null", "true"):
            device.transport.write((1 + len(text)).to_bytes(4, "big") + b"\x30" + text.encode())
            kind, said = await device.inbox.next()
            self.assertEqual((kind, said["payload"]), (0x31, json.loads(text)))
        text = "[1"
        device.transport.write((1 + len(text)).to_bytes(4, "big") + b"\x30" + text.encode())
        kind, said = await device.inbox.next()
        self.assertEqual((kind, said["code"]), (0xFF, "11"))

    async def test_what_a_pong_carries_back(self) -> None:
        """docs/tcp.md#limits: at the limit and one past it; and the largest PING is answered, too."""
        device = await self.ann.device()
        for size, carried in ((SMALL, True), (SMALL + 1, False), (MIB - 1, False)):
            body = b'"%s"' % (b"x" * (size - 2))
            device.transport.write((1 + size).to_bytes(4, "big") + b"\x30" + body)
            kind, said = await device.inbox.next()
            self.assertEqual((kind, "payload" in said, "timestamp" in said), (0x31, carried, True), size)

    async def test_subscription_ids(self) -> None:
        """docs/client-libraries.md#at-the-edges: another one for each SUBSCRIBED, and nothing refers to it."""
        device, found = await self.ann.device(), set()
        for _ in range(3):
            _, said = await device.ask(0x10, topic="t")
            found.add(said["subscriptionId"])
            self.assertEqual(await device.ask(0x11, topic="t"), (0x13, {"topic": "t"}))
        self.assertEqual(len(found), 3)

    async def test_what_is_subscribed_already_and_what_is_not(self) -> None:
        """docs/tcp.md#errors"""
        device = await self.ann.device()
        await device.ask(0x10, topic="t")
        self.assertEqual((await device.ask(0x10, topic="t"))[1]["code"], "6")
        self.assertEqual((await device.ask(0x11, topic="u"))[1]["code"], "3")


class WebSocketPageTests(SocketPages, SocketPageCase):
    """docs/websocket.md"""

    wire = "websocket"

    async def test_what_is_subscribed_already_and_what_is_not(self) -> None:
        """docs/websocket.md#messages: confirmed; with `after`, its replay begins anew."""
        first, second = await self.publish("log.a", 1, 2)
        await self.told_everywhere()
        socket = await self.ann.websocket()
        await socket.ask(type="subscribe", topic="log.a")
        said = await socket.ask(type="subscribe", topic="log.a", id=1)
        self.assertEqual((said["type"], "recovered" in said), ("subscribed", False))
        for _ in range(2):
            said = await socket.ask(type="subscribe", topic="log.a", after=first)
            self.assertEqual((said["recovered"], said["cursor"]), (True, first))
            replayed, caught_up = await socket.inbox.next(), await socket.inbox.next()
            self.assertEqual((replayed["data"], replayed["cursor"]), (2, second))
            self.assertEqual((caught_up["type"], caught_up["topic"]), ("caught_up", "log.a"))
        self.assertEqual((await socket.ask(type="unsubscribe", topic="u"))["type"], "unsubscribed")


class TooManyConnections(LiveCase):
    """docs/client-libraries.md#at-the-edges: `retryAfter`, and where it is on each wire."""

    def configure(self, config: Config) -> Config:
        rates = evolve(config.rate_limits, connect_rate=Rate(0.1, 1))
        return evolve(super().configure(config), rate_limits=rates)

    async def test_on_tcp(self) -> None:
        first, second = await Device.open(self.address), await Device.open(self.address)
        self.addCleanup(first.close)
        kind, said = await second.inbox.next()
        self.assertEqual((kind, said["code"]), (0xFF, "7"))
        self.assertIs(type(said["retryAfter"]), int)
        self.assertTrue(0 < said["retryAfter"] <= 10_000, said)
        self.assertRegex(said["error"], r"try again in \d+ s \(CONNECT_RATE\)$")
        await second.inbox.closed

    async def test_on_websockets(self) -> None:
        first = await WebSocket.open(self.address)
        self.addCleanup(first.close)
        with self.assertRaises(ConnectionError) as refused:
            await WebSocket.open(self.address)
        self.assertIn("429", str(refused.exception))


class SmallMessages(SocketPageCase):
    """docs/client-libraries.md#at-the-edges: the settings are about what clients send."""

    wire = "tcp"

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        tcp, websocket = (
            evolve(config.tcp, max_frame_size=1024),
            evolve(config.websocket, max_message_size=1024),
        )
        return evolve(config, tcp=tcp, websocket=websocket)

    async def test_what_the_server_sends_may_be_larger(self) -> None:
        device, socket = await self.ann.device(), await self.ann.websocket()
        await device.ask(0x10, topic="t")
        await socket.ask(type="subscribe", topic="t")
        await self.publish("t", "x" * 100_000)
        self.assertEqual(len((await device.inbox.next())[1]["content"]), 100_000)
        self.assertEqual(len((await socket.inbox.next())["data"]), 100_000)
