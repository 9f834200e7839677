"""The content of a publication is encoded once, however many wires, brokers and logs carry it."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet import reactor

from multiproto.base import strict_json
from multiproto.broker.memory import MemoryBroker
from multiproto.broker.redis_codec import encode_publication
from multiproto.core.identity import Identity
from multiproto.core.protocol import Delivery
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import Namespace, Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import Publisher
from multiproto.core.transactions import Publication
from multiproto.graphql.execution.subscriptions import estimate_size
from multiproto.http import sse
from multiproto.log.follower import Follower
from multiproto.tcp import codec as tcp_codec
from multiproto.websocket import codec as websocket_codec

from ...stores import StoreCase

CONTENT = {"text": "encode me once, é", "numbers": [1, 2.5, None]}
TEXT = '{"text":"encode me once, é","numbers":[1,2.5,null]}'.encode()


def has_content(value: object) -> bool:
    """Whether the encoder will find the content in `value`, and not its text."""
    if isinstance(value, dict):
        return value == CONTENT or any(map(has_content, value.values()))
    return isinstance(value, (list, tuple)) and any(map(has_content, value))


class AllWires:
    """A listener that encodes each delivery for every wire."""

    def __init__(self) -> None:
        self.encoded: list[bytes] = []

    def deliver(self, delivery: Delivery) -> bool:
        estimate_size(delivery)
        self.encoded += [
            tcp_codec.encode(delivery, 0.0),
            websocket_codec.encode(delivery, 0.0),
            sse.encode_delivery(delivery),
        ]
        return True


class RedisToo(MemoryBroker):
    """The live lane of one process, which says each publication to other instances, too."""

    async def publish(self, publication: Publication) -> None:
        self.said = encode_publication(publication)
        await super().publish(publication)


class EncodedOnceTests(StoreCase):
    async def asyncSetUp(self) -> None:
        self.encodings = 0
        encode = msgspec.json.Encoder().encode

        def counting(value: object) -> bytes:
            self.encodings += has_content(value)
            return encode(value)

        self.patch(strict_json, "_encode", counting)
        self.dispatcher, self.wires = Dispatcher(), AllWires()
        for pattern in ("live.*", "kept.*"):
            self.dispatcher.subscribe(pattern, self.wires)
        self.broker = RedisToo(self.dispatcher)
        self.publisher = Publisher(
            Policy(),
            self.broker,
            self.sends,
            Namespaces.with_builtin([Namespace("kept.*")]),
            self.now,
            self.new_id,
            strict_json.dumps,
            strict_json.dumps_canonically,
        )

    async def publish(self, topic: str) -> None:
        await self.publisher.publish(Identity("ann", "session-ann", 1e12), topic, CONTENT)

    def check_wires(self) -> None:
        self.assertEqual(len(self.wires.encoded), 3)
        for frame in self.wires.encoded:
            self.assertIn(TEXT, frame)

    async def test_on_a_live_topic(self) -> None:
        await self.publish("live.a")
        self.check_wires()
        self.assertIn(TEXT, self.broker.said)
        self.assertEqual(self.encodings, 1)

    async def test_on_a_logged_topic(self) -> None:
        """Also where it is read from the disk again, by a follower or for a replay."""
        clock: Any = reactor
        follower = Follower(self.store, self.dispatcher, clock)
        await follower.startService()
        self.addCleanup(follower.stopService)
        await self.publish("kept.a")
        follower.wake()
        await self.dispatcher.wait_for(1)
        self.check_wires()
        ((entry,),) = ((await self.store.read_page("kept", 0, 1)).entries,)
        self.assertEqual((entry.event.content, entry.event.encoded_content), (CONTENT, TEXT))
        self.assertEqual(self.encodings, 1)

    async def test_what_has_no_text_yet_is_encoded_by_each_wire(self) -> None:
        """The count does count: a publication of which nobody knows the text."""
        self.dispatcher.dispatch_live(Publication("id", "live.a", CONTENT, {}, "ann", 0.0))
        self.check_wires()
        self.assertEqual(self.encodings, 4)
