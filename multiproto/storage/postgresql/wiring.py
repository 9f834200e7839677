"""How the shared store is made from the configuration."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from ...config import Config
from ..jobs import OnJobCompleted
from .store import PostgresStore


def make_postgres_store(
    config: Config,
    reactor: Any,
    now: Callable[[], float],
    on_job_completed: OnJobCompleted,
    namespaces: Sequence[str],
) -> PostgresStore:
    dsn = config.storage.postgresql_dsn
    assert dsn is not None, "the engine is chosen by it"
    return PostgresStore(
        dsn,
        reactor,
        on_job_completed,
        namespaces,
        config.storage.pool_min,
        config.storage.pool_max,
        require_fsync=config.is_production,
        now=now,
    )
