"""What the configuration chooses between, each made from it: where things are kept, by what they travel.

`server.make_service` puts it together.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable, Union

from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IProtocolFactory

from .auth.passwords import BcryptPasswords
from .config import Config
from .config.settings import Tcp, WebSocket
from .core.audience import Audience
from .core.leases import Allotment
from .core.limits import Limits
from .core.quotas import Quotas
from .core.rates import Rate
from .edge.certificate import Certificate
from .edge.ports import Edge
from .graphql.endpoint import Endpoint, wants_whole
from .http.answers import Page
from .http.call import Call, Route
from .lifecycle import Listener
from .observe.metrics import Metrics
from .prompt import Turn, make_prompt
from .redis.address import Address
from .redis.codec import Key
from .redis.lane import RedisLane
from .redis.limits import SharedCounts
from .storage.postgresql.store import PostgresStore
from .storage.sqlite import SqliteStore
from .workers.parent import Parent
from .workers.port import SharedPort

AnyStore = Union[SqliteStore, PostgresStore]

BACKLOG = 1024  # connections that may wait to be taken, also while we start


def make_store(config: Config, reactor: Any, metrics: Metrics, namespaces: list[str]) -> AnyStore:
    """PostgreSQL where it is configured, else the embedded one."""
    kept = config.storage
    if kept.postgresql is None:
        return SqliteStore(
            Path(kept.directory), reactor, reactor, metrics.query, namespaces, fast=config.fast_paths
        )
    return PostgresStore(
        kept.postgresql,
        reactor,
        metrics.query,
        namespaces,
        kept.pool_min,
        kept.pool_max,
        durable=config.production,
    )


def make_lane(config: Config, reactor: Any, metrics: Metrics, audience: Audience) -> RedisLane | None:
    """What carries live topics to other instances, if there is something."""
    if config.redis.pubsub is None:
        return None
    address = _address(config.redis.pubsub, config)
    key = Key.of(config.redis.secret or config.auth.secret)
    lane = RedisLane(address, config.redis.prefix, key, audience, reactor, metrics)
    metrics.live_lane_up.set_function(lambda: lane.up)
    return lane


def make_counts(config: Config, reactor: Any) -> SharedCounts | None:
    """How often who asked, on all instances together, if there is where to count it."""
    if config.redis.limits is None:
        return None
    address = _address(config.redis.limits, config)
    return SharedCounts(address, config.redis.prefix, config.rates.window, reactor)


def _address(url: str, config: Config) -> Address:
    return Address.parse(url, Path(config.redis.ca_file) if config.redis.ca_file else None)


def watch(metrics: Metrics, store: AnyStore, audience: Audience, passwords: BcryptPasswords) -> None:
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


def make_edge(config: Config, reactor: Any) -> Edge:
    """How the ports are guarded."""
    wanted, certificate = config.edge, None
    if wanted.certificate:
        certificate = Certificate(Path(wanted.certificate), Path(wanted.key), reactor)
    return Edge(certificate, wanted.rules, wanted.proxy_protocol, reactor)


def short_to(endpoint: Endpoint, path: str) -> Route:
    """The short way of HTTP to GraphQL: for what has one whole answer, which is most of all that is asked there."""

    async def post(call: Call) -> Page:
        return Page(*await endpoint.post(call.header, call.request.body, call.host))

    return Route("POST", path, post, for_credentials=True, fits=wants_whole)


def limits(config: Config, wire: Tcp | WebSocket) -> Limits:
    return Limits(
        auth_within=config.auth.timeout,
        ping_every=wire.ping_interval,
        silence=2 * wire.ping_timeout,
        commands=config.rates.commands,
        bytes=config.rates.bytes,
    )


def quotas(config: Config, reactor: Any, counts: SharedCounts | None) -> Quotas:
    """How often one may publish."""

    def allotment(name: str, rate: Rate | None) -> Allotment | None:
        return Allotment(name, rate, reactor, counts) if rate else None

    rates = config.rates
    return Quotas(allotment("user", rates.publishes), allotment("credential", rates.credential_publishes))


def listener(
    reactor: Any,
    where: Any,
    factory: IProtocolFactory,
    sharing: Parent | None = None,
    turn: Turn | None = None,
) -> Listener:
    """`where` has a host, an IP address, and a port."""
    bound: Callable[[object], object] = id if turn is None else partial(make_prompt, turn=turn)
    if sharing is not None:  # not before we can serve: connections would wait here that others could take
        shared = SharedPort(reactor, where.port, BACKLOG, where.host)
        return Listener(shared, factory, early=False, bound=bound)
    endpoint = TCP6ServerEndpoint if ":" in where.host else TCP4ServerEndpoint
    return Listener(endpoint(reactor, where.port, BACKLOG, where.host), factory, bound=bound)
