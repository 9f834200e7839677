"""The table of stores: which engines there are, and how each is made from the configuration.

A further engine needs a folder of its own, with a `wiring`, and one line here.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Mapping, Sequence

from ..config import Config
from ..core.ports import LogStore
from ..core.pubsub.namespaces import Namespaces
from ..observe.metrics import Metrics
from .jobs import OnJobCompleted
from .postgresql.wiring import make_postgres_store
from .service import StoreService
from .sqlite.wiring import make_sqlite_store

# The configuration, the reactor, the seconds since the epoch, what to call with each completed job, and the patterns of the namespaces to keep.
StoreFactory = Callable[[Config, Any, Callable[[], float], OnJobCompleted, Sequence[str]], StoreService]

STORE_FACTORIES: Mapping[str, StoreFactory] = {  # by `StorageConfig.engine`
    "sqlite": make_sqlite_store,
    "postgresql": make_postgres_store,
}


def make_store(
    config: Config, *, reactor: Any, now: Callable[[], float], namespaces: Namespaces, metrics: Metrics
) -> StoreService:
    """The store of the configured engine, whose log keeps `namespaces`; `now` gives seconds since the epoch."""
    make = STORE_FACTORIES[config.storage.engine]
    store = make(config, reactor, now, metrics.on_query, [namespace.match for namespace in namespaces])
    _register_gauges(metrics, store)
    return store


def _register_gauges(metrics: Metrics, store: LogStore) -> None:
    metrics.database_connections.set_function(lambda: store.connections)
    for operation in ("read", "write"):
        queue_length = partial(_queue_length, store, operation)
        metrics.pool_queue.labels(f"database {operation}").set_function(queue_length)


def _queue_length(store: LogStore, operation: str) -> int:
    return store.waiting.get(operation, 0)
