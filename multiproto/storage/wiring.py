"""Makes the store that the configuration chooses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Union

from ..config import Config
from ..core.pubsub.namespaces import Namespaces
from ..observe.metrics import Metrics
from .postgresql.store import PostgresStore
from .sqlite.store import SqliteStore

AnyStore = Union[SqliteStore, PostgresStore]


def make_store(config: Config, *, reactor: Any, namespaces: Namespaces, metrics: Metrics) -> AnyStore:
    """PostgreSQL where it is configured, else SQLite in the data directory."""
    logged_patterns = [namespace.match for namespace in namespaces]
    if config.storage.postgresql_dsn is None:
        store: AnyStore = SqliteStore(
            directory=Path(config.storage.directory),
            reactor=reactor,
            clock=reactor,
            on_job_completed=metrics.on_query,
            namespaces=logged_patterns,
            inline_reads=config.fast_paths,
        )
    else:
        store = PostgresStore(
            config.storage.postgresql_dsn,
            reactor,
            metrics.on_query,
            logged_patterns,
            config.storage.pool_min,
            config.storage.pool_max,
            require_fsync=config.is_production,
        )
    _register_gauges(metrics, store)
    return store


def _register_gauges(metrics: Metrics, store: AnyStore) -> None:
    metrics.database_connections.set_function(lambda: store.connections)
    for operation in ("read", "write"):
        queue_length = partial(_queue_length, store, operation)
        metrics.pool_queue.labels(f"database {operation}").set_function(queue_length)


def _queue_length(store: AnyStore, operation: str) -> int:
    return store.waiting.get(operation, 0)
