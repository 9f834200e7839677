"""Makes what this process shares with other instances by Redis, where one is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import Config
from .address import RedisAddress
from .shared_limits import RedisSharedLimits


def redis_address(url: str, config: Config) -> RedisAddress:
    return RedisAddress.parse(url, Path(config.redis.ca_file) if config.redis.ca_file else None)


def make_shared_limits(config: Config, reactor: Any) -> RedisSharedLimits | None:
    """The counts of requests and publications that all instances keep together; `None` without a Redis."""
    if config.redis.rate_limit_url is None:
        return None
    address = redis_address(config.redis.rate_limit_url, config)
    return RedisSharedLimits(address, config.redis.prefix, config.rate_limits.window, reactor)
