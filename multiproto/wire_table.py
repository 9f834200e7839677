"""All protocols of the server, one line each; `server.make_service` makes those that are enabled.

A new protocol describes itself as a `Wire` in its own folder and is added here.
"""

from __future__ import annotations

from typing import Sequence

from .graphql.wire import graphql_wire
from .http.wire import http_wire
from .tcp.wire import tcp_wire
from .websocket.wire import websocket_echo_wire, websocket_wire
from .wire import WireFactory

WIRES: Sequence[WireFactory] = (
    websocket_wire,
    websocket_echo_wire,
    graphql_wire,
    tcp_wire,
    http_wire,
)
