"""All pairs, on the embedded store."""

from __future__ import annotations

from ...stores import StoreCase
from .contract import InterleavingContract


class SqliteInterleavingTests(StoreCase, InterleavingContract):
    """All that `InterleavingContract` says, of SQLite."""
