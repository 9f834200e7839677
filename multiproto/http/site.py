"""Everything that listens on the HTTP port: its connections, what their requests have in common, how it comes to rest."""

from __future__ import annotations

from typing import AbstractSet as Set
from typing import Callable

from attrs import Factory as New
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString

from ..core.addresses import AddressRules
from ..core.connections.admission import ConnectionRateLimiter
from ..core.ratelimit.fixed_window import RateLimit, RateLimitCheck
from .channel import Channel
from .codec import HttpProtocolError, RequestHead
from .limits import HttpLimits
from .request import HttpRequest
from .resolved_head import AnswerPolicy, ResolvedHead, ResolvedHeaders
from .routing import RoutedApp, Router

# method, route, status, seconds, bytes of the request's body, bytes of the answer's
RequestObserver = Callable[[str, str, int, float, int, int], None]

_UNREADABLE = RequestHead(b"", b"", b"HTTP/1.1", (), b"", 0, False, False, {})


@define(eq=False, repr=False)
class Site(Factory):
    noisy = False

    clock: IReactorTime
    new_id: Callable[[], str]  # for requests without a correlation id
    on_request_done: RequestObserver
    router: Router
    policy: AnswerPolicy
    _limits: HttpLimits
    _request_limit: RateLimit
    _login_limit: RateLimit
    _max_connections_per_host: int
    _connection_rate_limiter: ConnectionRateLimiter
    draining: bool = False
    _channels: set[Channel] = New(set)
    _streaming_channels: set[Channel] = New(set)  # of them, those that answer for as long as they can
    _channels_by_network: dict[str, set[Channel]] = New(dict)  # those that were admitted, by network
    _not_awaited: Set[Channel] = frozenset()  # those that `_drained` does not wait for
    _drained: Deferred[None] | None = None
    _date_second: int = -1
    _date_header: bytes = b""

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:  # type: ignore[override]
        if self.draining:
            return None
        channel = Channel(self, self._limits)
        self._channels.add(channel)
        return channel

    # At the end.

    def drain(self, patience: float) -> Deferred[None]:
        """Close each connection once its answer is out, or after `patience` seconds; fires
        when only event streams are left.

        Those end with their sessions, which the hub sees out.
        """
        self.draining = True
        for channel in list(self._channels):
            channel.drain()
        drained = self._wait_until_only(self._streaming_channels)
        if self._drained is None:
            return drained
        deadline = self.clock.callLater(patience, self._abort_requests)

        def settled(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return drained.addCallback(settled)

    def _abort_requests(self) -> None:
        for channel in self._channels - self._streaming_channels:
            channel.abort()

    def close_remaining(self) -> Deferred[None]:
        """Close what the hub has left; fires when the last farewell has had its time to arrive."""
        for channel in list(self._channels):
            channel.close_now()
        return self._wait_until_only(frozenset())

    def _wait_until_only(self, rest: Set[Channel]) -> Deferred[None]:
        """Fires when no other connections than `rest` are left."""
        self._not_awaited, self._drained = rest, Deferred()
        emptied = self._drained
        self._check_drained()
        return emptied

    # Called by channels and requests.

    @property
    def app(self) -> RoutedApp:
        """To add routes to."""
        return self.router.app

    @property
    def address_rules(self) -> AddressRules:
        return self.policy.address_rules

    def make_request(self, channel: Channel, head: RequestHead | None) -> HttpRequest:
        """Of a head that could not be read, a request that can only be refused."""
        resolved_head = channel.resolved_head
        if (
            resolved_head is None
            or resolved_head.head is not head
            or resolved_head.routes_version != self.router.version
        ):
            resolved_head = self._resolve(channel, head or _UNREADABLE)
        return HttpRequest(channel, self, resolved_head)

    def _resolve(self, channel: Channel, head: RequestHead) -> ResolvedHead:
        before = channel.resolved_head
        headers = None
        if before is not None:
            if before.head.fields is head.fields:
                headers = before.headers
            elif before.head.forwarded is not None and before.head.forwarded is head.forwarded:
                headers = before.headers.for_client(head, channel.getPeer(), self.policy)
        if headers is None:
            headers = ResolvedHeaders.of(head, channel.getPeer(), channel.secure, self.policy)
        path, _, query = head.target.partition(b"?")
        target = self.router.target(head.method, path)
        upgrade = headers.asks_websocket and head.method == b"GET" and self.router.is_upgrade_path(target)
        preflight = headers.asks_method and head.method == b"OPTIONS" and headers.origin is not None
        resolved_head = channel.resolved_head = ResolvedHead(
            head, headers, target, query, self.router.version, upgrade, preflight
        )
        return resolved_head

    def date_header(self) -> bytes:
        """For the header of that name, now."""
        now = int(self.clock.seconds())
        if now != self._date_second:
            self._date_second, self._date_header = now, datetimeToString(now)
        return self._date_header

    def check_rate_limits(self, host: str, is_login: bool) -> RateLimitCheck:
        """Count a request, by each limit that it falls under."""
        counted = [(self._request_limit, self._request_limit.count_request(host))]
        if is_login and not counted[0][1].exceeded:
            counted.append((self._login_limit, self._login_limit.count_request(host)))
        return RateLimitCheck(host, tuple(counted))

    def admission_error(self, channel: Channel) -> HttpProtocolError | None:
        """Why a connection that has just opened may not stay; a proxy's carry many clients, and all may."""
        if self.address_rules.is_trusted_proxy(str(getattr(channel.getPeer(), "host", ""))):
            return None
        wait = self._connection_rate_limiter.acquire(channel.peer_network)
        if wait:
            return HttpProtocolError(429, "Too many connections from this address", wait)
        neighbours = self._channels_by_network.setdefault(channel.peer_network, set())
        if len(neighbours - self._streaming_channels) >= self._max_connections_per_host:
            return HttpProtocolError(503, "Too many connections from this address")
        neighbours.add(channel)
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
