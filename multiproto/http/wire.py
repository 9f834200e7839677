"""Describes HTTP to the server: REST, event streams, and the resources of other protocols on its port."""

from __future__ import annotations

from .. import __version__
from ..config import Config
from ..core.connections.admission import ConnectionRateLimiter
from ..wire import STREAM_LIMITS, AdmissionSettings, ListeningWire, WireContext, WireListener
from .cors import CorsPolicy
from .limits import HttpLimits
from .routes.index import IndexEntry
from .wiring import SiteParts, SiteSettings, make_site

STREAM_ADMISSION = "sse"


def make_cors_policy(config: Config) -> CorsPolicy:
    origins = config.http.origins
    return CorsPolicy(frozenset(origins or ()), allow_localhost=origins is None)


def make_index_entries(config: Config) -> tuple[IndexEntry, ...]:
    """The protocols for clients that are served on the HTTP port beside REST."""
    websocket, graphql = config.websocket, config.graphql
    entries = (
        (websocket.enabled, IndexEntry("WebSocket", "/ws")),
        (graphql.enabled, IndexEntry("GraphQL", graphql.path, is_page=graphql.playground)),
    )
    return tuple(entry for enabled, entry in entries if enabled)


def http_wire(config: Config) -> ListeningWire:
    settings = SiteSettings(
        name=config.app_name,
        version=__version__,
        index_entries=make_index_entries(config),
        cors=make_cors_policy(config),
        compression=config.http.compression,
        security_headers=config.http.security_headers,
        address_rules=config.edge.address_rules,
        limits=HttpLimits(read_rate=config.rate_limits.byte_rate),
    )

    def make_listener(context: WireContext) -> WireListener:
        core = context.core
        site = make_site(
            SiteParts(
                clock=core.clock,
                now=core.now,
                new_id=core.new_id,
                authenticator=core.authenticator,
                hub=core.hub,
                account_services=core.account_services,
                messages=core.messages,
                publisher=core.publisher,
                stream_admission=context.admissions[STREAM_ADMISSION],
                health=context.health,
                on_request_done=context.metrics.on_request,
                request_limits=context.request_limits,
                mounts={path.encode(): resource for path, resource in context.mounts.items()},
                public_keys=context.public_jwks,
                connection_rate_limiter=ConnectionRateLimiter(config.rate_limits.connect_rate, core.clock),
            ),
            settings,
        )
        return WireListener(site, site.drain, site.close_remaining)

    return ListeningWire(
        name="http",
        enabled=True,
        admissions=(
            AdmissionSettings(STREAM_ADMISSION, STREAM_LIMITS, config.websocket.max_connections_per_ip),
        ),
        host=config.http.host,
        port=config.http.port,
        make_listener=make_listener,
        setting_prefix="",
        is_http=True,
    )
