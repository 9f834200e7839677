"""The whole server as one service, made from one configuration.

Read `make_service` from top to bottom.  The list at its end is the order in
which services start and, backwards, stop; each waits for the one before.
"""

from __future__ import annotations

from functools import partial
from signal import SIGHUP
from time import perf_counter, time
from typing import Any, Callable, Sequence

from twisted.application.service import Service
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint

from .auth.credential_format import RandomCredentialIssuer
from .auth.wiring import make_auth_services
from .banner import render_banner, startup_info
from .base import strict_json
from .base.timestamps import format_timestamp
from .base.uuid7 import Uuid7Generator
from .broker.redis import RedisBroker
from .broker.wiring import make_memory_broker, make_redis_broker
from .config import Config
from .core.domain.login_throttle import LoginThrottle
from .core.ports import LogStore
from .core.pubsub.namespaces import Namespaces
from .core.ratelimit.fixed_window import RateLimit, RequestLimits
from .core.ratelimit.shared_bucket import SharedBuckets
from .core.revocations import RevocationAnnouncingStore
from .core.transactions import Query
from .core.turn_scheduler import TurnScheduler
from .core.wiring import make_account_services, make_core_services, make_foundation, make_publish_limits
from .edge.listeners import EdgeWrapper
from .edge.wiring import make_edge_wrapper
from .http.wire import make_cors_policy
from .lifecycle import (
    ListenerService,
    NamedServices,
    RunAtStart,
    RunAtStop,
    SignalHandler,
    report_to_operator,
)
from .log.wiring import make_log_services
from .observe.health import HealthMonitor, Probe, always_up
from .observe.metrics import Metrics
from .observe.metrics_site import make_metrics_site
from .observe.process_log import ProcessLog
from .observe.reactor_lag import ReactorLag
from .reactor.accepting import AcceptFailures
from .reactor.descriptors import DescriptorLimit, DescriptorReserve
from .reactor.turns import call_before_poll, current_turn
from .reactor.write_coalescing import WriteCoalescer, coalesce_writes
from .redis.wiring import make_shared_limits
from .storage.wiring import make_store
from .wire import ListeningWire, WireContext, WireFactory, make_wire_listeners
from .wire_table import WIRES
from .workers.shared_port import SharedPort
from .workers.worker import SupervisorLink

DRAIN_TIMEOUT = 10.0  # seconds that requests have to be answered at the end, or a third of what there is
LISTEN_BACKLOG = 1024  # connections that may wait to be accepted, also while the server starts


def make_service(
    config: Config,
    reactor: Any,  # also the clock of all intervals
    supervisor: SupervisorLink | None = None,  # of the workers that share the ports, of which this is one
    wires: Sequence[WireFactory] = WIRES,
    process_log: ProcessLog | None = None,  # of this process, if it is the server's own
    descriptor_limit: DescriptorLimit | None = None,  # of this process; without one, connections have none
    now: Callable[[], float] = time,  # seconds since the epoch: for what is stamped, and for what expires
) -> NamedServices:
    """Make everything, from the store to the ports, ready to start."""
    new_id, metrics = Uuid7Generator(now), Metrics()
    services = NamedServices(
        reactor,
        config.shutdown_timeout,
        report_to_operator if supervisor is None else supervisor.report_failure,
    )

    if process_log is not None:
        metrics.add_process_log(process_log.writer)

    # The store, its log, and the instances beside this one.
    namespaces = Namespaces.with_builtin(config.namespaces)
    store = make_store(config, reactor=reactor, now=now, namespaces=namespaces, metrics=metrics)
    foundation = make_foundation(
        clock=reactor,
        now=now,
        new_id=new_id,
        turns=TurnScheduler(
            call_before_poll(reactor),
            perf_counter,
            current_turn(reactor),
            config.edge.address_rules.is_trusted_proxy,
            metrics.turn_work.seconds,
            metrics.turn_work.waits,
        ),
        metrics=metrics,
        store=store,
        namespaces=namespaces,
        shows_emails=config.auth.shows_emails,
    )
    log = make_log_services(
        foundation,
        audit_retention=config.auth.audit_retention,
        pruning_step=config.pruning_step,
        is_shared=config.storage.engine != "sqlite",
    )
    shared_limits = make_shared_limits(config, reactor)
    redis_broker = make_redis_broker(
        config, reactor=reactor, dispatcher=foundation.dispatcher, metrics=metrics
    )

    if redis_broker is not None:
        log.canary.announcer = redis_broker
        if shared_limits is not None:
            redis_broker.on_leave(shared_limits.client.reconnect)

    rates = config.rate_limits
    window_limit = partial(RateLimit, window=rates.window, clock=reactor, shared_counter=shared_limits)
    login_failures = window_limit(
        rates.max_login_failures,
        name="login-failures",
        message="Too many failed logins and registrations from this address",
        setting="LOGIN_RATE_MAX",
    )

    # Identity; accounts, messages, publishing and subscribing.
    auth, wall_clock = make_auth_services(config, foundation, reactor), foundation.wall_clock
    account_services = make_account_services(
        store=RevocationAnnouncingStore(store, foundation.dispatcher.revocations),
        passwords=auth.passwords,
        tokens=auth.tokens,
        credential_issuer=RandomCredentialIssuer(),
        failed_attempts=foundation.failed_attempts,
        now=now,
        earliest_now=wall_clock.earliest_now,
        latest_now=wall_clock.latest_now,
        new_id=new_id,
        decode_json=strict_json.loads,
        refresh_token_lifetime=config.auth.refresh_token_lifetime,
        operators=config.auth.operators,
        login_throttle=LoginThrottle(
            reactor,
            wall_clock.earliest_now,
            store,
            shared_limits,
            failures_by_address=login_failures,
        ),
        refresh_limit=(
            SharedBuckets("refresh", rates.refresh_rate, reactor, shared_limits)
            if rates.refresh_rate
            else None
        ),
        registration_open=config.auth.is_registration_open,
        shows_emails=config.auth.shows_emails,
        on_authentication=metrics.auth,
    )
    core = make_core_services(
        foundation,
        broker=redis_broker or make_memory_broker(config, foundation.dispatcher),
        rules=config.rules,
        authenticator=auth.authenticator,
        account_services=account_services,
        publish_limits=make_publish_limits(
            foundation,
            user_rate=rates.publish_rate,
            credential_rate=rates.credential_publish_rate,
            user_byte_rate=rates.user_byte_rate,
            shared_limits=shared_limits,
        ),
        encode_json=strict_json.dumps,
        encode_json_canonically=strict_json.dumps_canonically,
    )

    # The wires, and what guards their ports.
    health = make_health_monitor(
        reactor,
        now,
        store,
        redis_broker,
        clock_warning=wall_clock.warning,
        pruning_notice=log.pruner.notice,
        log_replaced_at=lambda: log.follower.replaced_at,
        is_ready=lambda: services.ready and log.canary.is_fresh,
    )
    context = WireContext(
        core=core,
        metrics=metrics,
        health=health,
        request_limits=RequestLimits(
            window_limit(
                rates.max_requests,
                name="requests",
                message="Too many requests without a valid token from this address",
                setting="RATE_LIMIT_MAX",
            ),
            window_limit(
                rates.max_user_requests,
                name="user-requests",
                message="Too many requests of this user",
                setting="RATE_LIMIT_USER_MAX",
            ),
        ),
        connect_rate=rates.connect_rate,
        allows_origin=make_cors_policy(config).allows_websocket,
        public_jwks=auth.keys.public_jwks,
    )
    listeners = make_wire_listeners([make_wire(config) for make_wire in wires], context)
    edge, coalescer = make_edge_wrapper(config, reactor, now), WriteCoalescer(reactor)
    reserve = (
        None
        if descriptor_limit is None
        else DescriptorReserve(descriptor_limit, reactor, metrics.descriptors_exhausted.inc)
    )
    accept_failures = AcceptFailures(reactor, metrics.accept_failures.inc)
    drain_timeout = min(DRAIN_TIMEOUT, config.shutdown_timeout / 3)

    start_order: list[tuple[str, Service | None]] = [
        ("descriptors", None if reserve is None else RunAtStart(reserve.log_limit)),
        ("supervisor-watcher", supervisor.make_watcher(reactor) if supervisor else None),
        ("wall-clock", wall_clock),
        ("certificate", edge.certificate),
        ("store", store),
        ("clock-comparison", log.clock_comparison),
        ("keys", auth.keys),
        ("sighup", make_sighup_handler(config, reactor, (*edge.reload_callbacks, auth.keys.reload))),
        ("passwords", auth.passwords),
        ("credential-usage", auth.usage),
        ("broker", redis_broker),
        ("shared-limits", shared_limits),
        ("failed-attempts", foundation.failed_attempts),
        ("operators", account_services.operators),
        ("instance-positions", log.positions),
        ("follower", log.follower),
        ("canary", log.canary),
        ("pruner", log.pruner),
        ("eraser", log.eraser),
        ("reactor-lag", ReactorLag(reactor, metrics.reactor_lag)),
        (
            "metrics",
            make_metrics_listener(
                config, reactor, now, metrics, health, edge=edge, accept_failures=accept_failures
            ),
        ),
        *((f"{wire.name}-close", run_at_stop(each.close_remaining)) for wire, each in listeners),
        ("hub", core.hub),
        *((f"{wire.name}-drain", run_at_stop(each.drain, drain_timeout)) for wire, each in listeners),
        *(
            (
                wire.name,
                make_port(
                    wire,
                    each.factory,
                    reactor,
                    edge=edge,
                    reserve=reserve,
                    supervisor=supervisor,
                    coalescer=coalescer,
                    accept_failures=accept_failures,
                ),
            )
            for wire, each in listeners
        ),
        ("ready-report", RunAtStart(supervisor.report_ready) if supervisor else None),
        ("banner", None if supervisor else make_banner(config, services, process_log)),
    ]
    for name, service in start_order:
        if service is not None:
            services.add(name, service)
    return services


def make_health_monitor(
    reactor: Any,
    now: Callable[[], float],
    store: LogStore,
    redis_broker: RedisBroker | None,
    clock_warning: Callable[[], str | None],
    pruning_notice: Callable[[], str | None],
    log_replaced_at: Callable[[], float | None],
    is_ready: Callable[[], bool],
) -> HealthMonitor:
    """The database must answer and accept writes; a cache that is down only degrades."""

    async def check_database() -> None:
        store.check_writes()
        await store.read(Query("users_count"))

    database = Probe("database", check_database, required=True)
    cache = Probe("cache", redis_broker.health if redis_broker else always_up, required=False)

    def log_notice() -> object:
        replaced_at = log_replaced_at()
        return replaced_at and {"replacedAt": format_timestamp(now() - reactor.seconds() + replaced_at)}

    return HealthMonitor(
        reactor,
        now,
        (database, cache),
        is_ready,
        reactor.seconds(),
        warnings={"clock": clock_warning, "damage": lambda: store.damage_warning},
        notices={"pruning": pruning_notice, "log": log_notice},
    )


def make_sighup_handler(
    config: Config, reactor: Any, reload_callbacks: Sequence[Callable[[], object]]
) -> SignalHandler | None:
    """What reads certificates and keys again; `None` where none are in files."""
    return SignalHandler(SIGHUP, reactor, reload_callbacks) if config.has_reloadable_files else None


def make_metrics_listener(
    config: Config,
    reactor: Any,
    now: Callable[[], float],
    metrics: Metrics,
    health: HealthMonitor,
    *,
    edge: EdgeWrapper,
    accept_failures: AcceptFailures,
) -> ListenerService | None:
    settings = config.metrics
    if not settings.enabled:
        return None
    site = make_metrics_site(metrics, health.report, now, reactor)
    endpoint = make_endpoint(reactor, settings.host, settings.port)
    return ListenerService(
        endpoint,
        edge.wrap_metrics(site, settings.is_loopback_only),
        on_bound=accept_failures.guard,
        setting_prefix="METRICS_",
    )


def run_at_stop(action: Callable[..., object] | None, *arguments: object) -> RunAtStop | None:
    return None if action is None else RunAtStop(partial(action, *arguments))


def make_port(
    wire: ListeningWire,
    factory: IProtocolFactory,
    reactor: Any,
    *,
    edge: EdgeWrapper,
    reserve: DescriptorReserve | None,
    supervisor: SupervisorLink | None,
    coalescer: WriteCoalescer,
    accept_failures: AcceptFailures,
) -> ListenerService:
    """The open port of one wire."""

    def on_bound(port: IListeningPort) -> None:
        coalesce_writes(port, coalescer)
        accept_failures.guard(port)

    wrapped = edge.wrap_http(factory) if wire.is_http else edge.wrap_tcp(factory)
    if reserve is not None:
        wrapped = reserve.guard(wrapped)
    listener = partial(
        ListenerService,
        factory=wrapped,
        on_bound=on_bound,
        setting_prefix=wire.setting_prefix,
    )
    if supervisor is not None:
        # Bound not before this process can serve: connections would wait here that others could accept.
        shared = SharedPort(reactor, wire.port, LISTEN_BACKLOG, wire.host)
        return listener(shared, bind_early=False)
    return listener(make_endpoint(reactor, wire.host, wire.port))


def make_endpoint(reactor: Any, host: str, port: int) -> IStreamServerEndpoint:
    endpoint_class = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    return endpoint_class(reactor, port, LISTEN_BACKLOG, host)


def make_banner(config: Config, services: NamedServices, process_log: ProcessLog | None) -> RunAtStart | None:
    """In development: what a person who has just started the server needs next."""
    if config.environment != "development" or process_log is None:
        return None
    return RunAtStart(
        lambda: process_log.print_to_stdout(render_banner(startup_info(config, services.port_number)))
    )
