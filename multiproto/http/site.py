"""Everything that listens on the HTTP port, made from its parts, and how it comes to rest."""

from __future__ import annotations

from typing import AbstractSet as Set
from typing import Callable, Mapping, Sequence

from attrs import Factory as New
from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from ..core.addresses import AddressRules
from ..core.connections.admission import Admission, ConnectionRateLimiter
from ..core.connections.hub import Hub
from ..core.domain.accounts import Accounts
from ..core.domain.audit_log import AuditLog
from ..core.domain.credentials import CredentialStore
from ..core.domain.login_sessions import LoginSessions
from ..core.domain.messages import Messages
from ..core.ports import Authenticator
from ..core.pubsub.publisher import Publisher
from ..core.ratelimit.fixed_window import RateLimit, RateLimitCheck
from .channel import Channel
from .codec import HttpProtocolError, RequestHead
from .cors import CorsPolicy
from .klein_app import API_PREFIXES, make_klein_resource
from .limits import HttpLimits
from .quick import Quick, Short
from .request import HttpRequest
from .route import Route
from .routes.accounts import AccountRoutes
from .routes.audit import AuditRoutes
from .routes.credentials import CredentialRoutes
from .routes.health import HealthReporter, HealthRoutes
from .routes.index import IndexRoutes
from .routes.jwks import JwksRoutes, PublicKeySource
from .routes.messages import MessageRoutes
from .routes.topics import TopicRoutes
from .table import Table

# method, route, status, seconds, bytes of the request's body, bytes of the answer's
RequestObserver = Callable[[str, str, int, float, int, int], None]


@frozen
class SiteSettings:
    name: str = "multiproto"
    version: str = ""
    cors: CorsPolicy = CorsPolicy()
    compression: bool = True
    security_headers: bool = True
    limits: HttpLimits = HttpLimits()
    max_connections_per_host: int = (
        200  # connections from one address; event streams, which count on a line, left out
    )
    address_rules: AddressRules = AddressRules()
    fast: bool = True


@frozen
class SiteParts:
    """Whom the site works with.  A mount answers requests at its path, e.g. `b"/ws"`, and a leaf those below it."""

    clock: IReactorTime
    new_id: Callable[[], str]  # for requests without a correlation id
    authenticator: Authenticator
    hub: Hub
    accounts: Accounts
    login_sessions: LoginSessions
    credential_store: CredentialStore
    audit_log: AuditLog
    messages: Messages
    publisher: Publisher
    stream_admission: Admission  # that event streams count on
    health: HealthReporter
    on_request_done: RequestObserver
    request_limit: RateLimit  # of any kind, from one address
    login_limit: RateLimit  # of them, those to log in and to register
    mounts: Mapping[bytes, IResource] = field(factory=dict)
    public_keys: PublicKeySource = list  # that others may verify tokens with
    connection_rate_limiter: ConnectionRateLimiter | None = None  # of connections
    shorts: Sequence[Route] = ()  # to mounts, for ordinary requests


PathSegments = tuple[str, ...]

_LOGIN_PATHS = frozenset(
    tuple(f"{prefix}/auth/{what}"[1:].split("/")) for prefix in API_PREFIXES for what in ("login", "register")
)


@define(eq=False, repr=False)
class Site(Factory):
    noisy = False

    clock: IReactorTime
    new_id: Callable[[], str]
    on_request_done: RequestObserver
    api: IResource
    mounts: Mapping[PathSegments, IResource]
    cors: CorsPolicy
    compression: bool
    security_headers: bool
    address_rules: AddressRules
    _limits: HttpLimits
    _request_limit: RateLimit
    _login_limit: RateLimit
    _max_connections_per_host: int
    _connection_rate_limiter: ConnectionRateLimiter
    short: Short | None = None  # for ordinary requests
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

    def make_request(self, channel: Channel, head: RequestHead | None) -> HttpRequest | Quick:
        if self.short is not None and head is not None:
            quick = self.short.take(channel, self, head)
            if quick is not None:
                return quick
        return HttpRequest(channel, self, head)

    def date_header(self) -> bytes:
        """For the header of that name, now."""
        now = int(self.clock.seconds())
        if now != self._date_second:
            self._date_second, self._date_header = now, datetimeToString(now)
        return self._date_header

    def find_mount(self, at: PathSegments) -> PathSegments | None:
        """Where the resource is mounted that answers for the path `at`, if one does."""
        for depth in range(1, len(at) + 1):
            if at[:depth] in self.mounts:
                return at[:depth]
        return None

    def check_rate_limits(self, host: str, at: PathSegments) -> RateLimitCheck:
        """Count a request, by each limit that it falls under."""
        counted = [(self._request_limit, self._request_limit.count_request(host))]
        if at in _LOGIN_PATHS and not counted[0][1].exceeded:
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


def make_site(parts: SiteParts, settings: SiteSettings = SiteSettings()) -> Site:
    clock = parts.clock
    routes = [
        *AccountRoutes(parts.accounts, parts.login_sessions).routes(),
        *CredentialRoutes(parts.credential_store).routes(),
        *AuditRoutes(parts.audit_log).routes(),
        *MessageRoutes(parts.messages).routes(),
        *TopicRoutes(parts.publisher, parts.hub, parts.stream_admission, clock).routes(),
    ]
    bare = [
        *IndexRoutes(settings.name, settings.version, clock).routes(),
        *HealthRoutes(parts.health).routes(),
        *JwksRoutes(parts.public_keys).routes(),
    ]
    site = Site(
        clock,
        parts.new_id,
        parts.on_request_done,
        make_klein_resource(parts.authenticator, clock, routes, bare),
        {_split_path(path.decode()): resource for path, resource in parts.mounts.items()},
        settings.cors,
        settings.compression,
        settings.security_headers,
        settings.address_rules,
        settings.limits,
        parts.request_limit,
        parts.login_limit,
        settings.max_connections_per_host,
        parts.connection_rate_limiter or ConnectionRateLimiter(None, clock),
    )
    if settings.fast:
        site.short = make_short(parts.authenticator, site, routes, bare)
        site.short.table.add(parts.shorts)
    return site


def make_short(access: Authenticator, site: Site, routes: list[Route], bare: list[Route]) -> Short:
    """The short way to all that no mount is in front of."""
    table = Table()
    for prefix, template, there in (
        ("", "", bare),
        *((prefix, API_PREFIXES[0], routes) for prefix in API_PREFIXES),
    ):
        free = [each for each in there if each.whole and not site.find_mount(_split_path(prefix + each.path))]
        table.add(free, prefix, template)
    return Short(access, table)


def _split_path(path: str) -> PathSegments:
    return tuple(path.strip("/").split("/"))
