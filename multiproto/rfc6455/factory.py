"""The factory of every WebSocket endpoint: who may connect, and compression that is done once for all peers."""

from __future__ import annotations

from typing import Any, Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.protocol import TrafficStats
from twisted.internet.interfaces import IReactorTime

from .codec import encode_frame, frame_opcode, frame_payload


class Rfc6455Factory(WebSocketServerFactory):
    """The options that all connections of an endpoint share.

    `allowed_origin` decides about each `Origin` but the server's own.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, allowed_origin: Callable[[str], bool]) -> None:
        super().__init__(server="", reactor=clock)
        self.clock = clock
        self.allowed_origin = allowed_origin
        self.traffic_stats = TrafficStats()
        self._last_compressed = b"", 0, b""  # the frame, its window bits, and the compressed frame

    def compress_frame(self, framed: bytes, deflate: Any) -> bytes:
        """`framed` compressed; done once for all connections that are sent the same frame one after the other.

        No context is taken over from message to message, so connections with
        equal windows get equal bytes.
        """
        last_framed, window_bits, compressed = self._last_compressed
        if last_framed is not framed or window_bits != deflate.server_max_window_bits:
            deflate.start_compress_message()
            payload = deflate.compress_message_data(frame_payload(framed)) + deflate.end_compress_message()
            compressed = encode_frame(payload, frame_opcode(framed), compressed=True)
            self._last_compressed = framed, deflate.server_max_window_bits, compressed
        return compressed
