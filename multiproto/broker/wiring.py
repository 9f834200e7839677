"""Makes the broker of live topics that the configuration chooses."""

from __future__ import annotations

from typing import Any

from ..config import Config
from ..core.pubsub.dispatcher import Dispatcher
from ..observe.metrics import Metrics
from ..redis.wiring import redis_address
from .memory import MemoryBroker
from .redis import RedisBroker
from .redis_codec import BrokerMacKey


def make_redis_broker(
    config: Config, *, reactor: Any, dispatcher: Dispatcher, metrics: Metrics
) -> RedisBroker | None:
    """The broker that reaches other instances; `None` where live topics stay in this process."""
    if config.redis.broker_url is None:
        return None
    broker = RedisBroker(
        redis_address(config.redis.broker_url, config),
        config.redis.prefix,
        BrokerMacKey.from_secret(config.redis.pubsub_secret or config.auth.jwt_secret),
        dispatcher,
        reactor,
        metrics,
    )
    metrics.live_lane_up.set_function(lambda: broker.up)
    return broker


def make_memory_broker(config: Config, dispatcher: Dispatcher) -> MemoryBroker:
    """It says "instance" to subscribers where other instances may share the database."""
    return MemoryBroker(dispatcher, "instance" if config.storage.postgresql_dsn else None)
