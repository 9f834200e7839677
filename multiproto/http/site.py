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

from ..core.access import Access
from ..core.accounts import Accounts
from ..core.arrivals import Arrivals
from ..core.hub import Hub, Line
from ..core.keyring import Keyring
from ..core.messages import Messages
from ..core.networks import AddressRules
from ..core.publishing import Publisher
from ..core.sessions import Sessions
from ..core.trail import Trail
from .accounts import AccountRoutes
from .api import PREFIXES, make_api
from .audit import AuditRoutes
from .call import Route
from .channel import Channel
from .codec import Head, Malformed
from .cors import Cors
from .credentials import CredentialRoutes
from .health import Health, HealthRoutes
from .home import HomeRoutes
from .keys import KeyRoutes, Published
from .limits import Limits
from .messages import MessageRoutes
from .quick import Quick, Short
from .ratelimit import RateLimit, Standings
from .request import Request
from .table import Table
from .topics import TopicRoutes

# method, route, status, seconds, bytes of the request's body, bytes of the answer's
Observed = Callable[[str, str, int, float, int, int], None]


@frozen
class Settings:
    name: str = "multiproto"
    version: str = ""
    cors: Cors = Cors()
    compression: bool = True
    security_headers: bool = True
    limits: Limits = Limits()
    most_per_host: int = 200  # connections from one address; event streams, which count on a line, left out
    rules: AddressRules = AddressRules()
    fast: bool = True


@frozen
class Parts:
    """Whom the site works with.  A mount answers requests at its path, e.g. `b"/ws"`, and a leaf those below it."""

    clock: IReactorTime
    new_id: Callable[[], str]  # for requests without a correlation id
    access: Access
    hub: Hub
    accounts: Accounts
    sessions: Sessions
    keyring: Keyring
    trail: Trail
    messages: Messages
    publisher: Publisher
    streams: Line  # that event streams count on
    health: Health
    observed: Observed
    requests: RateLimit  # of any kind, from one address
    logins: RateLimit  # of them, those to log in and to register
    mounts: Mapping[bytes, IResource] = field(factory=dict)
    keys: Published = list  # that others may verify tokens with
    arrivals: Arrivals | None = None  # of connections
    shorts: Sequence[Route] = ()  # to mounts, for ordinary requests


Path = tuple[str, ...]

_LOGIN = frozenset(
    tuple(f"{prefix}/auth/{what}"[1:].split("/")) for prefix in PREFIXES for what in ("login", "register")
)


@define(eq=False, repr=False)
class Site(Factory):
    noisy = False

    clock: IReactorTime
    new_id: Callable[[], str]
    observed: Observed
    api: IResource
    mounts: Mapping[Path, IResource]
    cors: Cors
    compression: bool
    security_headers: bool
    rules: AddressRules
    _limits: Limits
    _requests: RateLimit
    _logins: RateLimit
    _most_per_host: int
    _arrivals: Arrivals
    short: Short | None = None  # for ordinary requests
    draining: bool = False
    _channels: set[Channel] = New(set)
    _streams: set[Channel] = New(set)  # of them, those that answer for as long as they can
    _by_host: dict[str, set[Channel]] = New(dict)  # those that were admitted, by network
    _rest: Set[Channel] = frozenset()  # those that `_emptied` does not wait for
    _emptied: Deferred[None] | None = None
    _dated: int = -1
    _date: bytes = b""

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
            channel.retire()
        drained = self._until_left(self._streams)
        if self._emptied is None:
            return drained
        deadline = self.clock.callLater(patience, self._cut_requests)

        def settled(_: None) -> None:
            if deadline.active():
                deadline.cancel()

        return drained.addCallback(settled)

    def _cut_requests(self) -> None:
        for channel in self._channels - self._streams:
            channel.abort()

    def cut(self) -> Deferred[None]:
        """Close what the hub has left; fires when the last farewell has had its time to arrive."""
        for channel in list(self._channels):
            channel.cut()
        return self._until_left(frozenset())

    def _until_left(self, rest: Set[Channel]) -> Deferred[None]:
        """Fires when no other connections than `rest` are left."""
        self._rest, self._emptied = rest, Deferred()
        emptied = self._emptied
        self._settle()
        return emptied

    # Called by channels and requests.

    def request_for(self, channel: Channel, head: Head | None) -> Request | Quick:
        if self.short is not None and head is not None:
            quick = self.short.take(channel, self, head)
            if quick is not None:
                return quick
        return Request(channel, self, head)

    def date(self) -> bytes:
        """For the header of that name, now."""
        now = int(self.clock.seconds())
        if now != self._dated:
            self._dated, self._date = now, datetimeToString(now)
        return self._date

    def mount(self, at: Path) -> Path | None:
        """Where the resource is mounted that answers for the path `at`, if one does."""
        for depth in range(1, len(at) + 1):
            if at[:depth] in self.mounts:
                return at[:depth]
        return None

    def standings(self, host: str, at: Path) -> Standings:
        """Count a request, by each limit that it falls under."""
        counted = [(self._requests, self._requests.count(host))]
        if at in _LOGIN and not counted[0][1].exceeded:
            counted.append((self._logins, self._logins.count(host)))
        return Standings(host, tuple(counted))

    def refusal(self, channel: Channel) -> Malformed | None:
        """Why a connection that has just opened may not stay; a proxy's carry many clients, and all may."""
        if self.rules.trusts(str(getattr(channel.getPeer(), "host", ""))):
            return None
        wait = self._arrivals.wait(channel.network)
        if wait:
            return Malformed(429, "Too many connections from this address", wait)
        neighbours = self._by_host.setdefault(channel.network, set())
        if len(neighbours - self._streams) >= self._most_per_host:
            return Malformed(503, "Too many connections from this address")
        neighbours.add(channel)
        return None

    def streaming(self, channel: Channel) -> None:
        self._streams.add(channel)
        self._settle()

    def streams(self, channel: Channel) -> bool:
        return channel in self._streams

    def answered(self, channel: Channel) -> None:
        self._streams.discard(channel)

    def gone(self, channel: Channel) -> None:
        self._channels.discard(channel)
        self._streams.discard(channel)
        neighbours = self._by_host.get(channel.network, set())
        neighbours.discard(channel)
        if not neighbours:
            self._by_host.pop(channel.network, None)
        self._settle()

    def _settle(self) -> None:
        if self._emptied is not None and self._channels <= self._rest:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)


def make_site(parts: Parts, settings: Settings = Settings()) -> Site:
    clock = parts.clock
    routes = [
        *AccountRoutes(parts.accounts, parts.sessions).routes(),
        *CredentialRoutes(parts.keyring).routes(),
        *AuditRoutes(parts.trail).routes(),
        *MessageRoutes(parts.messages).routes(),
        *TopicRoutes(parts.publisher, parts.hub, parts.streams, clock).routes(),
    ]
    bare = [
        *HomeRoutes(settings.name, settings.version, clock).routes(),
        *HealthRoutes(parts.health).routes(),
        *KeyRoutes(parts.keys).routes(),
    ]
    site = Site(
        clock,
        parts.new_id,
        parts.observed,
        make_api(parts.access, clock, routes, bare),
        {_words(path.decode()): resource for path, resource in parts.mounts.items()},
        settings.cors,
        settings.compression,
        settings.security_headers,
        settings.rules,
        settings.limits,
        parts.requests,
        parts.logins,
        settings.most_per_host,
        parts.arrivals or Arrivals(None, clock),
    )
    if settings.fast:
        site.short = make_short(parts.access, site, routes, bare)
        site.short.table.add(parts.shorts)
    return site


def make_short(access: Access, site: Site, routes: list[Route], bare: list[Route]) -> Short:
    """The short way to all that no mount is in front of."""
    table = Table()
    for prefix, template, there in (("", "", bare), *((prefix, PREFIXES[0], routes) for prefix in PREFIXES)):
        free = [each for each in there if each.whole and not site.mount(_words(prefix + each.path))]
        table.add(free, prefix, template)
    return Short(access, table)


def _words(path: str) -> Path:
    return tuple(path.strip("/").split("/"))
