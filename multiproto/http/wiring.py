"""Makes the site from what it needs."""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource

from ..core.addresses import AddressRules
from ..core.connections.admission import Admission, ConnectionRateLimiter
from ..core.connections.hub import Hub
from ..core.domain.messages import Messages
from ..core.ports import Authenticator
from ..core.pubsub.publisher import Publisher
from ..core.ratelimit.fixed_window import RequestLimits
from ..core.wiring import AccountServices
from .cors import CorsPolicy
from .klein_app import Guard, make_app
from .limits import HttpLimits
from .resolved_head import AnswerPolicy
from .routes.accounts import AccountRoutes
from .routes.audit import AuditRoutes
from .routes.credentials import CredentialRoutes
from .routes.health import HealthReporter, HealthRoutes
from .routes.index import IndexEntry, IndexRoutes
from .routes.jwks import JwksRoutes, PublicKeySource
from .routes.messages import MessageRoutes
from .routes.topics import TopicRoutes
from .routing import PathSegments, Router
from .site import RequestObserver, Site


@frozen(kw_only=True)
class SiteSettings:
    """The configuration of the site."""

    name: str = "multiproto"
    version: str = ""
    index_entries: tuple[IndexEntry, ...] = ()  # what the page at the root lists of `SiteParts.mounts`
    cors: CorsPolicy = CorsPolicy()
    compression: bool = True
    security_headers: bool = True
    limits: HttpLimits = HttpLimits()
    # From one address; without event streams, which `SiteParts.stream_admission` limits.
    max_connections_per_network: int = 200
    address_rules: AddressRules = AddressRules()


@frozen(eq=False, repr=False, kw_only=True)
class SiteParts:
    """The objects that the site is made from.

    `mounts` maps a path, e.g. `b"/ws"`, to the resource that serves it; a leaf serves the paths below, too.
    """

    clock: IReactorTime
    now: Callable[[], float]  # seconds since the epoch
    new_id: Callable[[], str]  # for requests without a correlation id
    authenticator: Authenticator
    hub: Hub
    account_services: AccountServices
    messages: Messages
    publisher: Publisher
    stream_admission: Admission  # of event streams
    health: HealthReporter
    on_request_done: RequestObserver
    request_limits: RequestLimits
    mounts: Mapping[bytes, IResource] = field(factory=dict)
    public_keys: PublicKeySource = list  # with which other services verify tokens
    connection_rate_limiter: ConnectionRateLimiter | None = None  # of new connections; `None`: no limit


def make_site(parts: SiteParts, settings: SiteSettings = SiteSettings()) -> Site:
    """Make the site with all its routes.  Raises `UndeclaredAuth` for a route without an `Auth`."""
    clock, services = parts.clock, parts.account_services
    routes = [
        *AccountRoutes(services.accounts, services.login_sessions).routes(),
        *CredentialRoutes(services.credentials).routes(),
        *AuditRoutes(services.audit_log).routes(),
        *MessageRoutes(parts.messages).routes(),
        *TopicRoutes(parts.publisher, parts.hub, parts.stream_admission, clock).routes(),
    ]
    bare = [
        *IndexRoutes(settings.name, settings.version, settings.index_entries, parts.now).routes(),
        *HealthRoutes(parts.health).routes(),
        *JwksRoutes(parts.public_keys).routes(),
    ]
    guard = Guard(parts.authenticator, services.operators.check)
    mounts = {_split_path(path.decode()): resource for path, resource in parts.mounts.items()}
    return Site(
        clock=clock,
        now=parts.now,
        new_id=parts.new_id,
        on_request_done=parts.on_request_done,
        router=Router(make_app(guard, routes, bare, mounts), frozenset(mounts)),
        policy=AnswerPolicy(
            settings.cors, settings.compression, settings.security_headers, settings.address_rules
        ),
        turns=parts.hub.turns,
        limits=settings.limits,
        request_limits=parts.request_limits,
        max_connections_per_network=settings.max_connections_per_network,
        connection_rate_limiter=parts.connection_rate_limiter or ConnectionRateLimiter(None, clock),
    )


def _split_path(path: str) -> PathSegments:
    return tuple(path.strip("/").split("/"))
