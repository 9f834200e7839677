"""The factory of the HTTP port: its open connections, what their requests share, and their shutdown."""

from __future__ import annotations

from typing import AbstractSet as Set
from typing import Callable

from attrs import Factory as New
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString

from ..base.client_network import ClientNetwork, client_network
from ..core.addresses import AddressRules
from ..core.connections.admission import ConnectionRateLimiter
from ..core.ratelimit.fixed_window import RateLimitCheck, RequestLimits
from ..core.turn_scheduler import TurnScheduler
from .channel import Channel
from .codec import HttpProtocolError, RequestHead
from .limits import HttpLimits
from .request import HttpRequest
from .resolved_head import AnswerPolicy, ResolvedHead, ResolvedHeaders
from .routing import RoutedApp, Router

# method, route, status, seconds, bytes of the request's body, bytes of the response's
RequestObserver = Callable[[str, str, int, float, int, int], None]


@define(eq=False, repr=False)
class Site(Factory):
    """Makes a `Channel` for each HTTP connection and closes all of them at shutdown."""

    noisy = False

    clock: IReactorTime
    now: Callable[[], float]  # seconds since the epoch
    new_id: Callable[[], str]  # for requests without a correlation id
    on_request_done: RequestObserver
    router: Router
    policy: AnswerPolicy
    turns: TurnScheduler
    _limits: HttpLimits
    _request_limits: RequestLimits
    _max_connections_per_network: int
    connection_rate_limiter: ConnectionRateLimiter
    draining: bool = False
    _channels: set[Channel] = New(set)
    _streaming_channels: set[Channel] = New(set)  # of them, those that serve an event stream
    # Admitted ones, by the client's network.
    _channels_by_network: dict[ClientNetwork, set[Channel]] = New(dict)
    _not_awaited: Set[Channel] = frozenset()  # channels that `_drained` does not wait for
    _drained: Deferred[None] | None = None
    _date_second: int = -1
    _date_header: bytes = b""

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:  # type: ignore[override]
        if self.draining:
            return None
        channel = Channel(self, self._limits)
        self._channels.add(channel)
        return channel

    # Shutdown.

    def drain(self, timeout: float) -> Deferred[None]:
        """Close each connection once its response is sent, or after `timeout` seconds; fires
        when only event streams are left.

        The hub ends the event streams, together with its other connections.
        """
        self.draining = True
        for channel in list(self._channels):
            channel.drain()
        drained = self._wait_until_only(self._streaming_channels)
        if self._drained is None:
            return drained
        deadline = self.clock.callLater(timeout, self._abort_requests)

        def settled(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return drained.addCallback(settled)

    def _abort_requests(self) -> None:
        for channel in self._channels - self._streaming_channels:
            channel.abort()

    def close_remaining(self) -> Deferred[None]:
        """Close the connections that the hub has not closed; fires when none is left.

        Those that are closing already have a moment more, so that the last bytes arrive.
        """
        for channel in list(self._channels):
            channel.close_now()
        return self._wait_until_only(frozenset())

    def _wait_until_only(self, rest: Set[Channel]) -> Deferred[None]:
        """Fires when no connections but `rest` are left."""
        self._not_awaited, self._drained = rest, Deferred()
        emptied = self._drained
        self._check_drained()
        return emptied

    # Called by channels and requests.

    @property
    def app(self) -> RoutedApp:
        """The Klein app that routes are added to."""
        return self.router.app

    @property
    def max_body_bytes(self) -> int:
        return self._limits.max_body_bytes

    @property
    def address_rules(self) -> AddressRules:
        return self.policy.address_rules

    def make_request(self, channel: Channel, head: RequestHead) -> HttpRequest:
        resolved_head = channel.resolved_head
        if (
            resolved_head is None
            or resolved_head.head is not head
            or resolved_head.routes_version != self.router.version
        ):
            resolved_head = self._resolve(channel, head)
        return HttpRequest(channel, self, resolved_head)

    def _resolve(self, channel: Channel, head: RequestHead) -> ResolvedHead:
        previous = channel.resolved_head
        headers = None
        if previous is not None:
            if previous.head.fields is head.fields:
                headers = previous.headers
            elif previous.head.forwarded is not None and previous.head.forwarded is head.forwarded:
                headers = previous.headers.for_client(head, channel.getPeer(), self.policy)
        if headers is None:
            headers = ResolvedHeaders.of(head, channel.getPeer(), channel.secure, self.policy)
        if previous is not None and previous.headers is headers:
            turn_key = previous.turn_key
        else:
            turn_key = self.turns.key(headers.client_address, f"http-{id(channel)}")
        path, _, query = head.target.partition(b"?")
        target = self.router.target(head.method, path)
        upgrade = (
            headers.wants_websocket_upgrade and head.method == b"GET" and self.router.is_upgrade_path(target)
        )
        preflight = headers.has_preflight_method and head.method == b"OPTIONS" and headers.origin is not None
        resolved_head = channel.resolved_head = ResolvedHead(
            head, headers, target, query, turn_key, self.router.version, upgrade, preflight
        )
        return resolved_head

    def date_header(self) -> bytes:
        """The value of the Date header, formatted once a second."""
        now = int(self.now())
        if now != self._date_second:
            self._date_second, self._date_header = now, datetimeToString(now)
        return self._date_header

    def check_rate_limit(self, host: str, user_id: str | None = None) -> RateLimitCheck:
        """Count a request for the user who sent it, or else for its address."""
        return self._request_limits.check(host, user_id)

    def admission_error(self, channel: Channel) -> HttpProtocolError | None:
        """The error that a new connection is rejected with, or `None`.

        A trusted proxy's connections carry many clients, and are always admitted.
        """
        if self.address_rules.is_trusted_proxy(channel.peer_address):
            channel.is_counted = True
            return None
        neighbours = self._channels_by_network.setdefault(channel.peer_network, set())
        if len(neighbours - self._streaming_channels) >= self._max_connections_per_network:
            return HttpProtocolError(503, "Too many connections from this address")
        neighbours.add(channel)
        return None

    def connecting_network(self, channel: Channel) -> ClientNetwork | None:
        """The network whose new connection begins with the head that was read last; `None` if none does.

        Health checks begin none.  On the connection of a trusted proxy, a WebSocket of one of its clients does.
        """
        resolved_head = channel.resolved_head
        assert resolved_head is not None
        if not resolved_head.target.is_limited:
            return None
        if not channel.is_counted:
            channel.is_counted = True
            return channel.peer_network
        client_address = resolved_head.headers.client_address
        if resolved_head.is_upgrade and client_address != channel.peer_address:
            return client_network(client_address)
        return None

    def mark_streaming(self, channel: Channel) -> None:
        self._streaming_channels.add(channel)
        self._check_drained()

    def is_streaming(self, channel: Channel) -> bool:
        return channel in self._streaming_channels

    def on_response_done(self, channel: Channel) -> None:
        self._streaming_channels.discard(channel)

    def on_channel_closed(self, channel: Channel) -> None:
        self._channels.discard(channel)
        self._streaming_channels.discard(channel)
        neighbours = self._channels_by_network.get(channel.peer_network, set())
        neighbours.discard(channel)
        if not neighbours:
            self._channels_by_network.pop(channel.peer_network, None)
        self._check_drained()

    def _check_drained(self) -> None:
        if self._drained is not None and self._channels <= self._not_awaited:
            emptied, self._drained = self._drained, None
            emptied.callback(None)
