"""The whole server as one service, wired from one configuration.

Read `make_service` from top to bottom.  The list at its end is the order in
which things start and, backwards, stop; each step waits for the one before.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, Union

from twisted.web.resource import IResource

from . import __version__, jsontext
from .auth.gate import TokenGate
from .auth.passwords import BcryptPasswords
from .auth.tokens import Tokens
from .banner import Place, Started, banner
from .broker.follower import Follower
from .broker.memory import MemoryBroker
from .broker.pruner import Pruner
from .config import Config
from .config.kinds import spelled
from .config.secret import Secret
from .config.settings import Http, MetricsPort, Tcp, WebSocket
from .core.accounts import Accounts
from .core.audience import Audience
from .core.events import Events
from .core.history import History
from .core.hub import Hub, Line
from .core.limits import Limits
from .core.messages import Messages
from .core.namespaces import Namespaces
from .core.ports import Query
from .core.publishing import Publisher
from .core.sends import Sends
from .edge.certificate import Certificate
from .edge.ports import Edge
from .graphql.limits import QueryLimits
from .graphql.wiring import Needs, make_endpoint
from .http.cors import Cors
from .http.ratelimit import RateLimit
from .http.site import Parts, Settings, make_site
from .ids import TimeOrderedIds
from .lifecycle import AtStart, AtStop, House, listener
from .observe.health import Health, Probe, here
from .observe.metrics import Metrics
from .observe.site import metrics_site
from .observe.tick import Tick
from .observe.traffic import Traffic
from .redis.address import Address
from .redis.codec import Key
from .redis.lane import RedisLane
from .rfc6455.resource import UpgradeResource
from .storage.postgresql.store import PostgresStore
from .storage.sqlite import SqliteStore
from .tcp.protocol import DeviceFactory
from .websocket.protocol import MAX_ECHO, EchoProtocol, EventsFactory

AnyStore = Union[SqliteStore, PostgresStore]

DRAIN_WITHIN = 10.0  # seconds that requests have to be answered at the end, or a third of what there is
LOGINS = 20  # from one address in one window of the rate limit, registrations included
STREAMS_PER_HOST = 1000  # GraphQL subscriptions from one address; a socket carries up to 100

# A stream says nothing, so neither silence nor a late login is held against it.
STREAM = Limits(subscriptions=1, auth_within=float("inf"), silence=float("inf"))


def make_service(config: Config, reactor: Any) -> House:
    """Everything, from the store to the ports.  `reactor` is also the clock: its `seconds` are the epoch's."""
    now = reactor.seconds
    new_id = TimeOrderedIds(now)
    metrics = Metrics()

    namespaces = Namespaces.including(config.namespaces)
    store = _store(config, reactor, metrics, [each.match for each in namespaces])
    audience = Audience(metrics.event)
    follower = Follower(store, audience, reactor)
    store.on_commit(follower.wake)

    # Who somebody is.
    secret = Secret(config.auth.secret, Path(config.storage.directory) / "jwt-secret")
    lifetime = config.auth.lifetime
    tokens = Tokens(secret, int(lifetime), spelled(lifetime), now, new_id)
    gate = TokenGate(tokens, store, now, lambda outcome: metrics.auth("token", outcome))
    passwords = BcryptPasswords(reactor, config.auth.bcrypt_rounds)

    _watch(metrics, store, audience, passwords)

    # What one can do.
    events = Events(new_id)
    accounts = Accounts(
        store, passwords, tokens, events, now, new_id, config.auth.refresh_lifetime, metrics.auth
    )
    sends = Sends(store, now)
    messages = Messages(store, sends, events, now, new_id)
    lane = _lane(config, reactor, metrics, audience)
    broker = (
        MemoryBroker(audience, "instance" if config.storage.postgresql else None) if lane is None else lane
    )
    publisher = Publisher(broker, sends, namespaces, now, new_id, jsontext.dumps)
    history = History(store, audience, namespaces, reactor)
    hub = Hub(gate, audience, history, publisher, reactor, new_id)

    def line(name: str, limits: Limits, most_per_host: int, most: int | None = None) -> Line:
        return Line(limits, metrics.watch(Traffic(name, now())), most, most_per_host)

    # The wires.
    wide = config.websocket.most_per_host
    cors = Cors(frozenset(config.http.origins or ()), any_localhost=config.http.origins is None)
    logins = RateLimit(LOGINS, config.rates.window, clock=reactor)
    edge = _edge(config, reactor)
    house = House(reactor, config.shutdown_timeout)
    database = Probe("database", lambda: store.read(Query("users_count")), vital=True)
    cache = Probe("cache", here if lane is None else lane.health, vital=False)
    health = Health(reactor, now, (database, cache), lambda: house.ready, now())

    mounts: dict[bytes, IResource] = {}
    if config.websocket.enabled:
        events_line = line("websocket", _limits(config, config.websocket), wide)
        size = config.websocket.max_message
        mounts[b"/ws"] = UpgradeResource(EventsFactory(hub, events_line, reactor, cors.allows, size))
    if config.websocket.echo:
        echo_line = line("echo", _limits(config, config.websocket), wide)
        echo = EventsFactory(hub, echo_line, reactor, cors.allows, MAX_ECHO, protocol=EchoProtocol)
        mounts[b"/ws-echo"] = UpgradeResource(echo)
    if config.graphql.enabled:
        needs = Needs(
            accounts,
            messages,
            publisher,
            hub,
            gate,
            reactor,
            line("graphql", _limits(config, config.websocket), wide),
            line("graphql_stream", STREAM, STREAMS_PER_HOST),
            health.document,
            cors.allows,
            metrics.operation,
            logins.check,
            QueryLimits(config.graphql.max_depth, config.graphql.max_complexity),
            config.graphql.introspection,
            config.graphql.playground,
            config.graphql.path,
        )
        mounts[config.graphql.path.encode()] = make_endpoint(needs)
    site = make_site(
        Parts(
            reactor,
            new_id,
            gate,
            hub,
            accounts,
            messages,
            publisher,
            line("sse", STREAM, wide),
            health,
            metrics.request,
            logins,
            mounts,
        ),
        Settings(
            config.name,
            __version__,
            cors,
            config.rates.most,
            rate_window=config.rates.window,
            compression=config.http.compression,
            security_headers=config.http.security_headers,
            rules=config.edge.rules,
        ),
    )

    if edge.certificate is not None:
        house.add("certificate", edge.certificate)
    house.add("store", store)
    house.add("secret", secret)
    house.add("passwords", passwords)
    if lane is not None:
        house.add("live", lane)
    house.add("follower", follower)
    house.add("pruner", Pruner(store, namespaces, audience, reactor, now))
    house.add("tick", Tick(reactor, metrics.reactor_lag))
    if config.metrics.enabled:
        pages = metrics_site(metrics, health.report, now, reactor)
        house.add("metrics", listener(reactor, config.metrics, edge.metrics(pages, config.metrics.inside)))
    house.add("leftovers", AtStop(site.cut))
    house.add("hub", hub)
    house.add("requests", AtStop(partial(site.drain, min(DRAIN_WITHIN, config.shutdown_timeout / 3))))
    if config.tcp.enabled:
        tcp_line = line("tcp", _limits(config, config.tcp), config.tcp.most_per_host, config.tcp.most)
        devices = DeviceFactory(hub, tcp_line, now, config.tcp.max_frame, config.tcp.keep_alive)
        house.add("tcp", listener(reactor, config.tcp, edge.tcp(devices)))
    house.add("http", listener(reactor, config.http, edge.http(site)))
    if config.environment == "development":
        house.add("banner", AtStart(lambda: _show(banner(_started(config, house)))))
    return house


def _edge(config: Config, reactor: Any) -> Edge:
    """How the ports are guarded."""
    wanted, certificate = config.edge, None
    if wanted.certificate:
        certificate = Certificate(Path(wanted.certificate), Path(wanted.key), reactor)
    return Edge(certificate, wanted.rules, wanted.proxy_protocol, reactor)


def _store(config: Config, reactor: Any, metrics: Metrics, namespaces: list[str]) -> AnyStore:
    """PostgreSQL where it is configured, else the embedded one."""
    kept = config.storage
    if kept.postgresql is None:
        return SqliteStore(Path(kept.directory), reactor, reactor, metrics.query, namespaces)
    return PostgresStore(
        kept.postgresql,
        reactor,
        metrics.query,
        namespaces,
        kept.pool_min,
        kept.pool_max,
        durable=config.production,
    )


def _lane(config: Config, reactor: Any, metrics: Metrics, audience: Audience) -> RedisLane | None:
    """What carries live topics to other instances, if there is something."""
    if config.redis.pubsub is None:
        return None
    ca_file = Path(config.redis.ca_file) if config.redis.ca_file else None
    address = Address.parse(config.redis.pubsub, ca_file)
    lane = RedisLane(address, config.redis.prefix, Key.of(config.auth.secret), audience, reactor, metrics)
    metrics.live_lane_up.set_function(lambda: lane.up)
    return lane


def _watch(metrics: Metrics, store: AnyStore, audience: Audience, passwords: BcryptPasswords) -> None:
    """Gauges that are read off when somebody asks."""
    metrics.log_position.set_function(lambda: audience.position)
    metrics.log_lag.set_function(lambda: store.newest - audience.position)
    metrics.database_connections.set_function(lambda: store.connections)
    for operation in ("read", "write"):
        waiting = partial(_waiting, store, operation)
        metrics.pool_queue.labels(f"database {operation}").set_function(waiting)
    metrics.pool_queue.labels("passwords").set_function(lambda: passwords.waiting)


def _waiting(store: AnyStore, operation: str) -> int:
    return store.waiting.get(operation, 0)


def _limits(config: Config, wire: Tcp | WebSocket) -> Limits:
    return Limits(
        auth_within=config.auth.timeout, ping_every=wire.ping_interval, silence=2 * wire.ping_timeout
    )


def _show(text: str) -> None:
    """On the process's own stdout: twistd has made `sys.stdout` a part of the log."""
    print(text, file=sys.__stdout__, flush=True)


def _started(config: Config, house: House) -> Started:
    """What there is to tell the person who started us."""

    def place(name: str, where: Http | Tcp | MetricsPort) -> Place | None:
        secure = "certificate" in house.namedServices and not getattr(where, "inside", False)
        return Place(where.host, house.port(name), secure) if name in house.namedServices else None

    http = place("http", config.http)
    assert http is not None
    return Started(
        __version__,
        http,
        place("tcp", config.tcp),
        place("metrics", config.metrics),
        config.websocket.enabled,
        config.graphql.path if config.graphql.enabled else None,
        Path(config.storage.directory),
        config.storage.where,
        Path("examples/four_ways.py").exists(),
    )
