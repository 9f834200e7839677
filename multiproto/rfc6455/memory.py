"""Saves memory in open WebSockets: drops what Autobahn keeps in each and no longer needs.

Autobahn keeps some sixty attributes in each, most of them the handshake's or
at their initial values, with a queue, a validator and counters that nearly no
connection ever uses: 3.5 KiB, more than its `Connection` has.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from autobahn.websocket.protocol import TrafficStats
from autobahn.websocket.utf8validator import Utf8Validator

from .factory import Rfc6455Factory

# Needed only by the handshake, or by listeners of Autobahn's events, of which there are none.
HANDSHAKE_ATTRIBUTES = frozenset(
    {
        *("http_headers", "http_request_host", "http_request_params", "http_request_path"),
        *("http_request_uri", "http_response_data", "http_status_line", "websocket_extensions"),
        *("websocket_extensions_in_use", "websocket_origin", "websocket_protocols", "_wskey"),
        *("_results", "_valid_events", "_transport_details", "peer"),
        *("send_queue", "trafficStats", "utf8validator", "on_accepted"),
    }
)

_FALSE_BY_DEFAULT = (
    *("triggered", "wasMaxFramePayloadSizeExceeded", "wasMaxMessagePayloadSizeExceeded", "closedByMe"),
    *("failedByMe", "droppedByMe", "wasClean", "wasServerConnectionDropTimeout"),
    *("wasOpenHandshakeTimeout", "wasCloseHandshakeTimeout", "wasServingFlashSocketPolicyFile"),
    *("inside_message",),
)
_NONE_BY_DEFAULT = (
    *("_perMessageCompress", "trackedTimings", "wasNotCleanReason", "localCloseCode", "localCloseReason"),
    *("remoteCloseCode", "remoteCloseReason", "openHandshakeTimeoutCall", "closeHandshakeTimeoutCall"),
    *("autoPingTimeoutCall", "autoPingPending", "autoPingPendingCall", "autoPingPendingSent"),
    *("websocket_protocol_in_use", "current_frame"),
)
DEFAULT_VALUES: dict[str, Any] = dict.fromkeys(_FALSE_BY_DEFAULT, False) | dict.fromkeys(_NONE_BY_DEFAULT)
DEFAULT_VALUES |= {"send_state": 0, "autoPingPendingSeq": 0, "http_request_data": b""}

# Where attributes are found that an instance no longer has.
DefaultAttributes: Any = type("DefaultAttributes", (), DEFAULT_VALUES)


class CompactConnection(DefaultAttributes):
    """A mixin that can drop the attributes of the handshake."""

    factory: Rfc6455Factory
    send_queue = ()  # Autobahn's, for writes in pieces: there are none

    @cached_property
    def trafficStats(self) -> TrafficStats:
        return self.factory.traffic_stats  # one for all connections: nobody reads them

    @cached_property
    def utf8validator(self) -> Utf8Validator:
        return Utf8Validator()

    def drop_handshake_state(self) -> None:
        """To be called once the connection is open."""
        self.__dict__ = {
            name: value
            for name, value in self.__dict__.items()
            if name not in HANDSHAKE_ATTRIBUTES
            and (name not in DEFAULT_VALUES or value is not DEFAULT_VALUES[name])
        }
