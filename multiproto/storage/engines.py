"""The table of stores: which engines there are, and how each is made from the configuration.

A further engine needs a folder of its own, with a `wiring`, and one line here.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ..config import Config
from .jobs import OnJobCompleted
from .postgresql.wiring import make_postgres_store
from .service import StoreService
from .sqlite.wiring import make_sqlite_store

StoreFactory = Callable[[Config, Any, OnJobCompleted, Sequence[str]], StoreService]

STORE_FACTORIES: Mapping[str, StoreFactory] = {  # by `StorageConfig.engine`
    "sqlite": make_sqlite_store,
    "postgresql": make_postgres_store,
}


def make_store(
    config: Config, reactor: Any, on_job_completed: OnJobCompleted, namespaces: Sequence[str]
) -> StoreService:
    """The store of the configured engine, whose log keeps `namespaces`."""
    return STORE_FACTORIES[config.storage.engine](config, reactor, on_job_completed, namespaces)
