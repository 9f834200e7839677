"""What the factory of every WebSocket endpoint has."""

from __future__ import annotations

from typing import Callable

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.internet.interfaces import IReactorTime


class Rfc6455Factory(WebSocketServerFactory):
    """`allowed_origin` is asked about each `Origin` but the server's own; `clock` tells the epoch's seconds."""

    noisy = False

    def __init__(self, clock: IReactorTime, allowed_origin: Callable[[str], bool]) -> None:
        super().__init__(server="", reactor=clock)
        self.clock = clock
        self.allowed_origin = allowed_origin
