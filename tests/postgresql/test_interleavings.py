"""All pairs of operations at the same moment, on the shared store."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from multiproto.base.uuid7 import Uuid7Generator
from tests.system.interleavings.contract import InterleavingContract

from .cases import DatabaseCase


class PostgresInterleavingTests(DatabaseCase, InterleavingContract):
    """All that `InterleavingContract` says, of PostgreSQL."""

    def setUp(self) -> Deferred[None]:
        super().setUp()
        self.store = self.new_store()
        self.now = reactor.seconds  # type: ignore[attr-defined]
        self.new_id = Uuid7Generator(self.now)
        return self.store.startService()
