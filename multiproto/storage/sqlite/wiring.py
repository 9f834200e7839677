"""How the embedded store is made from the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Sequence

from ...config import Config
from ..jobs import OnJobCompleted
from .store import SqliteStore


def make_sqlite_store(
    config: Config,
    reactor: Any,
    now: Callable[[], float],
    on_job_completed: OnJobCompleted,
    namespaces: Sequence[str],
) -> SqliteStore:
    return SqliteStore(
        Path(config.storage.directory),
        reactor,
        reactor,
        on_job_completed,
        namespaces,
        now=now,
    )
