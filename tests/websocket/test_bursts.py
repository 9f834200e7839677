"""Batches of deliveries, over TCP and WebSocket: the same bytes as one by one, up to a limit."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.protocol import MAX_BATCH_BYTES, Delivery, DeliveryBatch
from multiproto.rfc6455.protocol import MIN_COMPRESS_SIZE
from multiproto.tcp import codec as tcp_codec
from multiproto.tcp.protocol import TcpFactory
from multiproto.websocket import codec
from multiproto.websocket.protocol import WebSocketFactory

from ..fakes import make_core
from ..rfc6455.wire import Wire, handshake
from ..tcp.wire import Wire as DeviceWire

DEFLATE = "permessage-deflate; client_no_context_takeover"


def burst(*contents: object) -> DeliveryBatch:
    return DeliveryBatch(
        "a", tuple(Delivery("a", content, {}, 0.0, "ann", f"id{n}") for n, content in enumerate(contents))
    )


class BurstTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock)

    def socket(self, extensions: str | None = None) -> tuple[Any, Wire]:
        factory = WebSocketFactory(
            self.house.hub,
            self.house.admission("websocket"),
            self.clock,
            self.clock.seconds,
            lambda origin: False,
        )
        protocol, wire = factory.buildProtocol(None), Wire()
        protocol.makeConnection(wire)
        protocol.dataReceived(handshake(Sec_WebSocket_Extensions=extensions))
        wire.take()
        return protocol, wire

    def device(self) -> tuple[Any, DeviceWire]:
        device = TcpFactory(self.house.hub, self.house.admission(), self.clock.seconds).buildProtocol(None)
        wire = DeviceWire()
        device.makeConnection(wire)
        return device, wire

    def test_the_same_bytes_as_one_by_one(self) -> None:
        for peer, wire in (self.socket(), self.device()):
            told = burst("x", {"é": 1}, None)
            size = peer.send_batch(told)
            at_once = wire.value()
            wire.clear()
            self.assertEqual(size, sum(peer.send(delivery) for delivery in told.deliveries))
            self.assertEqual((len(at_once), at_once), (size, wire.value()))

    def test_all_peers_get_the_same_object(self) -> None:
        told = burst("x", "y")
        for encode_all in (codec.encode_batch, tcp_codec.encode_batch):
            self.assertIs(encode_all(told), encode_all(told))
        self.assertEqual(len(told.encoded), 2)

    def test_the_limit_and_one_past_it(self) -> None:
        for (peer, wire), module in ((self.socket(), codec), (self.device(), tcp_codec)):
            least = len(module.encode_batch(burst("x" * 30_000, "x" * 30_000))) - 60_000
            for over, sent in ((0, MAX_BATCH_BYTES), (1, 0)):
                told = burst("x" * 30_000, "x" * (MAX_BATCH_BYTES - least - 30_000 + over))
                self.assertEqual((peer.send_batch(told), len(wire.value())), (sent, sent))
                wire.clear()

    def test_each_message_is_compressed_by_itself_once_for_all_peers(self) -> None:
        """The same bytes as one by one: of those that are short, as they are."""
        told = burst("x" * MIN_COMPRESS_SIZE, "y", "z" * MIN_COMPRESS_SIZE)
        written = []
        for peer, wire in (self.socket(DEFLATE), self.socket(DEFLATE)):
            size = peer.send_batch(told)
            written.append(wire.value())
            wire.clear()
            self.assertEqual(size, sum(peer.send(delivery) for delivery in told.deliveries))
            self.assertEqual(written[-1], wire.value())
        self.assertLess(len(written[0]), size)
        self.assertEqual(len(told.encoded), 2)
