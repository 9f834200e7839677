"""What the configuration chooses between, each made from it: where things are kept, by what they travel.

`server.make_service` puts it together.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Callable

from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IProtocolFactory

from .auth.passwords import BcryptPasswords
from .broker.redis import RedisBroker
from .broker.redis_codec import BrokerMacKey
from .config import Config
from .config.settings import TcpConfig, WebSocketConfig
from .core.connections.admission import ConnectionLimits
from .core.ports import LogStore
from .core.pubsub.dispatcher import Dispatcher
from .core.ratelimit.publish_limits import PublishLimits
from .core.ratelimit.shared_bucket import SharedBuckets
from .core.ratelimit.token_bucket import Rate
from .edge.certificate import TlsCertificate
from .edge.listeners import EdgeWrapper
from .graphql.transport.http import GraphQLResource, wants_buffered_response
from .http.envelope import RawResponse
from .http.route import RequestContext, Route
from .lifecycle import ListenerService
from .observe.metrics import Metrics
from .reactor.write_coalescing import WriteCoalescer, coalesce_writes
from .redis.address import RedisAddress
from .redis.shared_limits import RedisSharedLimits
from .workers.shared_port import SharedPort
from .workers.worker import SupervisorLink

LISTEN_BACKLOG = 1024  # connections that may wait to be taken, also while we start


def make_redis_broker(
    config: Config, reactor: Any, metrics: Metrics, audience: Dispatcher
) -> RedisBroker | None:
    """What carries live topics to other instances, if there is something."""
    if config.redis.broker_url is None:
        return None
    address = _redis_address(config.redis.broker_url, config)
    key = BrokerMacKey.from_secret(config.redis.pubsub_secret or config.auth.jwt_secret)
    lane = RedisBroker(address, config.redis.prefix, key, audience, reactor, metrics)
    metrics.live_lane_up.set_function(lambda: lane.up)
    return lane


def make_shared_limits(config: Config, reactor: Any) -> RedisSharedLimits | None:
    """How often who asked, on all instances together, if there is where to count it."""
    if config.redis.rate_limit_url is None:
        return None
    address = _redis_address(config.redis.rate_limit_url, config)
    return RedisSharedLimits(address, config.redis.prefix, config.rate_limits.window, reactor)


def _redis_address(url: str, config: Config) -> RedisAddress:
    return RedisAddress.parse(url, Path(config.redis.ca_file) if config.redis.ca_file else None)


def register_gauges(
    metrics: Metrics, store: LogStore, audience: Dispatcher, passwords: BcryptPasswords
) -> None:
    """Gauges that are read off when somebody asks."""
    metrics.log_position.set_function(lambda: audience.position)
    metrics.log_lag.set_function(lambda: store.newest - audience.position)
    metrics.pool_queue.labels("passwords").set_function(lambda: passwords.waiting)


def make_edge_wrapper(config: Config, reactor: Any) -> EdgeWrapper:
    """How the ports are guarded."""
    wanted, certificate = config.edge, None
    if wanted.certificate_file:
        certificate = TlsCertificate(Path(wanted.certificate_file), Path(wanted.key_file), reactor)
    return EdgeWrapper(certificate, wanted.address_rules, wanted.proxy_protocol, reactor)


def make_graphql_route(endpoint: GraphQLResource, path: str) -> Route:
    """The short way of HTTP to GraphQL: for what has one whole answer, which is most of all that is asked there."""

    async def post(call: RequestContext) -> RawResponse:
        return RawResponse(*await endpoint.handle_post(call.header, call.request.body, call.client_address))

    return Route("POST", path, post, allows_credentials=True, fits=wants_buffered_response)


def make_connection_limits(config: Config, wire: TcpConfig | WebSocketConfig) -> ConnectionLimits:
    return ConnectionLimits(
        auth_timeout=config.auth.auth_timeout,
        ping_interval=wire.ping_interval,
        idle_timeout=2 * wire.ping_timeout,
        command_rate=config.rate_limits.command_rate,
        read_rate=config.rate_limits.byte_rate,
    )


def make_publish_limits(config: Config, reactor: Any, counts: RedisSharedLimits | None) -> PublishLimits:
    """How often one may publish."""

    def allotment(name: str, rate: Rate | None) -> SharedBuckets | None:
        return SharedBuckets(name, rate, reactor, counts) if rate else None

    rates = config.rate_limits
    return PublishLimits(
        allotment("user", rates.publish_rate), allotment("credential", rates.credential_publish_rate)
    )


def make_listener(
    reactor: Any,
    where: Any,
    factory: IProtocolFactory,
    sharing: SupervisorLink | None = None,
    turn: WriteCoalescer | None = None,
) -> ListenerService:
    """`where` has a host, an IP address, and a port."""
    bound: Callable[[object], object] = id if turn is None else partial(coalesce_writes, turn=turn)
    if sharing is not None:  # not before we can serve: connections would wait here that others could take
        shared = SharedPort(reactor, where.port, LISTEN_BACKLOG, where.host)
        return ListenerService(shared, factory, bind_early=False, on_bound=bound)
    endpoint = TCP6ServerEndpoint if ":" in where.host else TCP4ServerEndpoint
    return ListenerService(endpoint(reactor, where.port, LISTEN_BACKLOG, where.host), factory, on_bound=bound)
