"""Interfaces between the parts of an HTTP connection: the site, its connections and their requests.

Each part declares here what it uses of the others, so that none imports the
class that creates it.
"""

from __future__ import annotations

from typing import Any, Callable, Protocol

from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.python.failure import Failure

from ..base.client_network import ClientNetwork
from ..core.addresses import AddressRules
from ..core.connections.admission import ConnectionRateLimiter
from ..core.ratelimit.fixed_window import RateLimitCheck
from ..core.turn_scheduler import TurnScheduler
from .codec import HttpProtocolError, RequestHead
from .resolved_head import AnswerPolicy
from .routing import Router


class FinishedRequest(Protocol):
    """A request that was answered or abandoned, as the access log records it."""

    @property
    def method(self) -> bytes: ...
    @property
    def route_template(self) -> str: ...
    @property
    def started_at(self) -> float:
        """By the site's clock."""

    @property
    def request_id(self) -> str: ...
    @property
    def client_address(self) -> str: ...


class AccessObserver(Protocol):
    """The site, as the access log uses it: the clock, and the observer of request metrics."""

    @property
    def clock(self) -> IReactorTime: ...

    def on_request_done(
        self, method: str, route: str, status: int, seconds: float, received: int, sent: int
    ) -> None:
        """Record a finished request; `received` and `sent` are the bytes of its bodies."""


class ChannelRequest(Protocol):
    """A request, as its connection drives it."""

    @property
    def turn_key(self) -> str:
        """Whose share of the reactor's time the request has."""

    @property
    def takes_interim_responses(self) -> bool:
        """Whether an interim response may be sent now: to HTTP/1.1, while the response has not begun."""

    def check_admission(self) -> bool:
        """Whether the request is admitted: checked before any of its body is read."""

    def reject(self) -> None:
        """Answer a request that is not admitted."""

    def reject_protocol_error(self, fault: HttpProtocolError) -> None:
        """Answer a request that can't be parsed."""

    def receive_body(self, body: bytes) -> None:
        """Set the whole body; called before `process`."""

    def process(self) -> None:
        """Handle the request, and answer it."""

    def on_upgraded(self) -> None:
        """The connection has switched to another protocol."""

    def connectionLost(self, reason: Failure) -> None: ...


class RequestChannel(Protocol):
    """The connection of a request, as the request uses it."""

    @property
    def transport(self) -> Any: ...
    @property
    def persistent(self) -> bool:
        """Whether another request may follow."""

    @property
    def pipelined_bytes(self) -> bytes:
        """What the client has sent after the request."""

    @property
    def secure(self) -> bool: ...
    def find_client(self, key: str, kind: str, on_found: Callable[[bool], object]) -> None:
        """Call `on_found` with whether the client of a request that has waited is still there."""

    def count_inflated(self, size: int) -> None:
        """Count `size` bytes that a compressed body has held beyond those that came."""

    def close_after_response(self) -> None:
        """Let no other request follow the one that is answered."""

    def write(self, data: bytes) -> None: ...
    def abort(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...
    def requestDone(self, request: Any) -> None: ...


class RequestSite(AccessObserver, Protocol):
    """The site, as its requests use it."""

    @property
    def router(self) -> Router: ...
    @property
    def policy(self) -> AnswerPolicy: ...
    @property
    def turns(self) -> TurnScheduler: ...
    @property
    def max_body_bytes(self) -> int: ...
    def now(self) -> float:
        """Seconds since the epoch."""

    def new_id(self) -> str: ...
    def date_header(self) -> bytes: ...
    def check_rate_limit(self, host: str, user_id: str | None = None) -> RateLimitCheck: ...
    def mark_streaming(self, channel: Any) -> None: ...


class ChannelSite(Protocol):
    """The site, as its connections use it."""

    @property
    def clock(self) -> IReactorTime: ...
    @property
    def address_rules(self) -> AddressRules: ...
    @property
    def draining(self) -> bool: ...
    @property
    def turns(self) -> TurnScheduler: ...
    def make_request(self, channel: Any, head: RequestHead) -> ChannelRequest: ...
    @property
    def connection_rate_limiter(self) -> ConnectionRateLimiter: ...
    def admission_error(self, channel: Any) -> HttpProtocolError | None: ...
    def connecting_network(self, channel: Any) -> ClientNetwork | None: ...
    def is_streaming(self, channel: Any) -> bool: ...
    def on_response_done(self, channel: Any) -> None: ...
    def on_channel_closed(self, channel: Any) -> None: ...
