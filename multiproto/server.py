"""The whole server as one service, wired from one configuration.

Read `make_service` from top to bottom.  The list at its end is the order in
which things start and, backwards, stop; each step waits for the one before.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.web.resource import IResource

from . import __version__
from .auth.authenticator import TokenAuthenticator
from .auth.credential_format import RandomCredentialIssuer
from .auth.credential_usage import CredentialUsage
from .auth.key_files import KeyFiles
from .auth.passwords import BcryptPasswords
from .auth.token_cache import TokenCache
from .auth.tokens import JwtTokens
from .banner import print_to_stdout, render_banner, startup_info
from .base import strict_json
from .base.uuid7 import Uuid7Generator
from .broker.memory import MemoryBroker
from .config import Config
from .config.parsers import format_duration
from .config.signing_secret import signing_secret
from .core.connections.admission import Admission, ConnectionLimits, ConnectionRateLimiter
from .core.connections.hub import Hub
from .core.domain.accounts import Accounts
from .core.domain.audit_log import AuditLog, AuditRecorder
from .core.domain.credentials import CredentialStore
from .core.domain.failed_attempts import FailedAttempts
from .core.domain.login_sessions import LoginSessions
from .core.domain.login_throttle import LoginThrottle
from .core.domain.messages import Messages
from .core.events import EventBuilder
from .core.idempotency import IdempotentSends
from .core.pubsub.dispatcher import Dispatcher
from .core.pubsub.namespaces import Namespaces
from .core.pubsub.policy import Policy
from .core.pubsub.publisher import Publisher
from .core.pubsub.replay import ReplayReader
from .core.revocations import RevocationAnnouncingStore
from .core.transactions import Query
from .equipment import (
    make_connection_limits,
    make_edge_wrapper,
    make_graphql_route,
    make_listener,
    make_publish_limits,
    make_redis_broker,
    make_shared_limits,
    make_store,
    register_gauges,
)
from .graphql.execution.limits import QueryLimits
from .graphql.wiring import GraphQLDependencies, make_graphql_resource
from .http.cors import CorsPolicy
from .http.limits import HttpLimits
from .http.ratelimit import RateLimit
from .http.route import Route
from .http.site import SiteParts, SiteSettings, make_site
from .lifecycle import NamedServices, RunAtStart, RunAtStop, SighupHandler, report_to_operator
from .log.canary import Canary
from .log.follower import Follower
from .log.pruner import Pruner
from .observe.health import HealthMonitor, Probe, always_up
from .observe.metrics import Metrics
from .observe.metrics_site import make_metrics_site
from .observe.protocol_stats import ProtocolStats
from .observe.reactor_lag import ReactorLag
from .reactor.write_coalescing import WriteCoalescer
from .rfc6455.resource import UpgradeResource
from .tcp.protocol import TcpFactory
from .websocket.protocol import MAX_ECHO_SIZE, WebSocketEchoProtocol, WebSocketFactory
from .workers.worker import SupervisorLink

DRAIN_TIMEOUT = 10.0  # seconds that requests have to be answered at the end, or a third of what there is
MAX_LOGINS_PER_WINDOW = 20  # from one address in one window of the rate limit, registrations included
MAX_STREAMS_PER_HOST = 1000  # GraphQL subscriptions from one address; a socket carries up to 100

# A stream says nothing, so neither silence nor a late login is held against it.
STREAM_LIMITS = ConnectionLimits(max_subscriptions=1, auth_timeout=float("inf"), idle_timeout=float("inf"))


def make_service(config: Config, reactor: Any, parent: SupervisorLink | None = None) -> NamedServices:
    """Everything, from the store to the ports.  `reactor` is also the clock: its `seconds` are the epoch's.

    With a `parent` this is one of several processes that share the ports.
    """
    now = reactor.seconds
    new_id = Uuid7Generator(now)
    metrics = Metrics()

    namespaces = Namespaces.with_builtin(config.namespaces)
    store = make_store(config, reactor, metrics, [each.match for each in namespaces])
    audience = Dispatcher(metrics.on_event_dispatched)
    fast = config.fast_paths
    if fast:
        audience.enable_batching(reactor)
    follower = Follower(store, audience, reactor)
    store.on_commit(follower.wake)

    # Who somebody is.
    auth = config.auth
    keys = KeyFiles(partial(signing_secret, config), auth.private_key_file, auth.public_key_files)
    tokens = JwtTokens(
        keys, int(auth.access_token_lifetime), format_duration(auth.access_token_lifetime), now, new_id
    )
    audit = AuditRecorder(now, new_id)
    attempts = FailedAttempts(store, audit, reactor, metrics.audit_dropped.inc)
    usage = CredentialUsage(store, reactor)
    authenticator = TokenAuthenticator(
        tokens=tokens,
        store=store,
        cache=TokenCache(audience, reactor, config.redis.cache_ttl, keys),
        usage=usage,
        failed_attempts=attempts,
        revocations=audience.revocations,
        observer=metrics,
        now=now,
    )
    passwords = BcryptPasswords(reactor, auth.bcrypt_rounds)
    counts = make_shared_limits(config, reactor)

    register_gauges(metrics, store, audience, passwords)

    # What one can do.
    events = EventBuilder(new_id)
    keeping = RevocationAnnouncingStore(store, audience.revocations)
    sessions = LoginSessions(
        keeping,
        passwords,
        tokens,
        events,
        audit,
        attempts,
        now,
        new_id,
        auth.refresh_token_lifetime,
        metrics.auth,
        LoginThrottle(reactor, counts),
    )
    accounts = Accounts(keeping, passwords, sessions, events, audit, now, new_id)
    keyring = CredentialStore(keeping, RandomCredentialIssuer(), events, audit, now, new_id)
    trail = AuditLog(store, frozenset(config.auth.operators), strict_json.loads)
    sends, often = IdempotentSends(store, now), make_publish_limits(config, reactor, counts)
    messages = Messages(store, sends, events, now, new_id, often)
    lane = make_redis_broker(config, reactor, metrics, audience)
    broker = (
        MemoryBroker(audience, "instance" if config.storage.postgresql_dsn else None)
        if lane is None
        else lane
    )
    publisher = Publisher(
        Policy(config.rules), broker, sends, namespaces, now, new_id, strict_json.dumps, often
    )
    history = ReplayReader(store, audience, namespaces, reactor)
    hub = Hub(authenticator, audience, history, publisher, reactor, new_id)

    def line(name: str, limits: ConnectionLimits, most_per_host: int, most: int | None = None) -> Admission:
        arrivals = ConnectionRateLimiter(config.rate_limits.connect_rate, reactor)
        return Admission(
            limits, metrics.add_protocol(ProtocolStats(name, now())), most, most_per_host, arrivals
        )

    # The wires.
    wide = config.websocket.max_connections_per_ip
    cors = CorsPolicy(frozenset(config.http.origins or ()), allow_localhost=config.http.origins is None)
    requests, logins = (
        RateLimit(most, config.rate_limits.window, clock=reactor, shared_counter=counts, name=name)
        for name, most in (("requests", config.rate_limits.max_requests), ("logins", MAX_LOGINS_PER_WINDOW))
    )
    edge = make_edge_wrapper(config, reactor)
    house = NamedServices(
        reactor, config.shutdown_timeout, report_to_operator if parent is None else parent.report_failure
    )
    database = Probe("database", lambda: store.read(Query("users_count")), required=True)
    cache = Probe("cache", always_up if lane is None else lane.health, required=False)
    canary = Canary(store, audience, reactor, new_id)
    health = HealthMonitor(reactor, now, (database, cache), lambda: house.ready and canary.is_fresh, now())

    mounts: dict[bytes, IResource] = {}
    shorts: list[Route] = []
    if config.websocket.enabled:
        events_line = line("websocket", make_connection_limits(config, config.websocket), wide)
        size = config.websocket.max_message_size
        ws = WebSocketFactory(hub, events_line, reactor, cors.allows_websocket, size, fast=fast)
        mounts[b"/ws"] = UpgradeResource(ws)
    if config.websocket.echo_enabled:
        echo_line = line("echo", make_connection_limits(config, config.websocket), wide)
        echo = WebSocketFactory(
            hub, echo_line, reactor, cors.allows_websocket, MAX_ECHO_SIZE, True, WebSocketEchoProtocol, fast
        )
        mounts[b"/ws-echo"] = UpgradeResource(echo)
    if config.graphql.enabled:
        needs = GraphQLDependencies(
            accounts,
            sessions,
            keyring,
            authenticator,
            messages,
            publisher,
            hub,
            reactor,
            line("graphql", make_connection_limits(config, config.websocket), wide),
            line("graphql_stream", STREAM_LIMITS, MAX_STREAMS_PER_HOST),
            health.document,
            cors.allows_websocket,
            metrics.on_operation,
            logins.check,
            QueryLimits(config.graphql.max_depth, config.graphql.max_complexity),
            config.graphql.introspection,
            config.graphql.playground,
            config.graphql.path,
            fast,
        )
        mounts[config.graphql.path.encode()] = endpoint = make_graphql_resource(needs)
        shorts.append(make_graphql_route(endpoint, config.graphql.path))
    site = make_site(
        SiteParts(
            reactor,
            new_id,
            authenticator,
            hub,
            accounts,
            sessions,
            keyring,
            trail,
            messages,
            publisher,
            line("sse", STREAM_LIMITS, wide),
            health,
            metrics.on_request,
            requests,
            logins,
            mounts,
            keys.public_jwks,
            ConnectionRateLimiter(config.rate_limits.connect_rate, reactor),
            shorts,
        ),
        SiteSettings(
            config.app_name,
            __version__,
            cors,
            compression=config.http.compression,
            security_headers=config.http.security_headers,
            address_rules=config.edge.address_rules,
            limits=HttpLimits(read_rate=config.rate_limits.byte_rate),
            fast=fast,
        ),
    )

    if parent is not None:
        house.add("leash", parent.make_watcher(reactor))
    if edge.certificate is not None:
        house.add("certificate", edge.certificate)
    house.add("store", store)
    house.add("keys", keys)
    if config.has_reloadable_files:
        house.add("hangup", SighupHandler(reactor, (*edge.reload_callbacks, keys.reload)))
    house.add("passwords", passwords)
    house.add("uses", usage)
    if lane is not None:
        house.add("live", lane)
    if counts is not None:
        house.add("rates", counts)
    house.add("attempts", attempts)
    house.add("follower", follower)
    house.add("canary", canary)
    house.add("pruner", Pruner(store, namespaces, audience, reactor, now, auth.audit_retention))
    house.add("tick", ReactorLag(reactor, metrics.reactor_lag))
    if config.metrics.enabled:
        pages = make_metrics_site(metrics, health.report, now, reactor)
        house.add(
            "metrics",
            make_listener(reactor, config.metrics, edge.wrap_metrics(pages, config.metrics.is_loopback_only)),
        )
    turn = WriteCoalescer(reactor) if fast else None
    house.add("leftovers", RunAtStop(site.close_remaining))
    house.add("hub", hub)
    house.add("requests", RunAtStop(partial(site.drain, min(DRAIN_TIMEOUT, config.shutdown_timeout / 3))))
    if config.tcp.enabled:
        tcp_line = line(
            "tcp",
            make_connection_limits(config, config.tcp),
            config.tcp.max_connections_per_ip,
            config.tcp.max_connections,
        )
        most, keep_alive = config.tcp.max_frame_size, config.tcp.keep_alive_interval
        devices = TcpFactory(hub, tcp_line, now, most, keep_alive, fast)
        house.add("tcp", make_listener(reactor, config.tcp, edge.wrap_tcp(devices), parent, turn))
    house.add("http", make_listener(reactor, config.http, edge.wrap_http(site), parent, turn))
    if parent is not None:
        house.add("report", RunAtStart(parent.report_ready))
    elif config.environment == "development":
        house.add(
            "banner",
            RunAtStart(lambda: print_to_stdout(render_banner(startup_info(config, house.port_number)))),
        )
    return house
