"""What the factory of every WebSocket endpoint has."""

from __future__ import annotations

from typing import Any, Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from autobahn.websocket.protocol import TrafficStats
from twisted.internet.interfaces import IReactorTime

from .codec import encode_frame, frame_opcode, frame_payload


class Rfc6455Factory(WebSocketServerFactory):
    """`allowed_origin` is asked about each `Origin` but the server's own; `retry_after`, in how many seconds an
    address may come, 0.0 for at once; `clock` tells the epoch's seconds."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        allowed_origin: Callable[[str], bool],
        wait: Callable[[str], float] = lambda host: 0.0,
        fast: bool = True,
    ) -> None:
        super().__init__(server="", reactor=clock)
        self.clock = clock
        self.allowed_origin = allowed_origin
        self.retry_after = wait
        self.traffic_stats = TrafficStats()
        self.fast = fast  # frames may take the short way of `plain`
        self._last_compressed: tuple[bytes, int, bytes] = (
            b"",
            0,
            b"",
        )  # a frame, window bits, and what it became

    def compress_frame(self, framed: bytes, deflate: Any) -> bytes:
        """`framed` compressed; the work is done once for all connections that are told the same.

        Nothing is taken over from message to message, so with equal windows
        they get equal bytes.
        """
        known, bits, squeezed = self._last_compressed
        if known is not framed or bits != deflate.server_max_window_bits:
            deflate.start_compress_message()
            payload = deflate.compress_message_data(frame_payload(framed)) + deflate.end_compress_message()
            squeezed = encode_frame(payload, frame_opcode(framed), compressed=True)
            self._last_compressed = framed, deflate.server_max_window_bits, squeezed
        return squeezed
