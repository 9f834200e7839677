"""A database of its own for each test, on a real server."""

from __future__ import annotations

from typing import Any

from psycopg.conninfo import make_conninfo
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from multiproto.core.errors import Refusal
from multiproto.storage.postgresql import writer
from multiproto.storage.postgresql.store import PostgresStore
from tests.proxy import HOST, Proxy
from tests.servers import Postgres, needs, postgresql
from tests.timing import RESCUE, TEST_RESCUE


@needs("postgresql")
class DatabaseCase(TestCase):
    timeout = TEST_RESCUE
    is_patient = True  # with a database that is slow to answer, as on a busy machine

    def setUp(self) -> Deferred[None] | None:
        if self.is_patient:
            self.patch(writer, "WRITE_TIMEOUT", RESCUE)
        self.server = self.use_server()
        self.conninfo = self.server.new_database()
        self.addCleanup(self.server.drop, self.conninfo)
        self.observed: list[tuple[str, str]] = []
        return None

    def use_server(self) -> Postgres:
        return postgresql()

    def new_store(self, conninfo: str | None = None, **options: Any) -> PostgresStore:
        store = PostgresStore(conninfo or self.conninfo, reactor, self._observe, **options)
        self.addCleanup(store.stopService)
        return store

    async def make_store(self, conninfo: str | None = None, **options: Any) -> PostgresStore:
        store = self.new_store(conninfo, **options)
        await deferToThread(store.open)  # a proxy needs this one
        await store.startService()
        return store

    async def proxied(self) -> tuple[Proxy, str]:
        """A proxy before the server, and the database's address through it."""
        proxy = Proxy(self.server.port)
        proxy.listen()
        self.addCleanup(proxy.stop)
        return proxy, make_conninfo(self.conninfo, host=HOST, hostaddr=HOST, port=proxy.port)

    def _observe(self, operation: str, status: str, seconds: float) -> None:
        self.assertGreaterEqual(seconds, 0)
        self.observed.append((operation, status))


async def refusal(answer: Deferred[Any]) -> Refusal:
    try:
        await answer
    except Refusal as refused:
        return refused
    raise AssertionError("was not refused")


async def outcome(answer: Deferred[Any]) -> Any:
    """What `answer` gives, or its refusal."""
    try:
        return await answer
    except Refusal as refused:
        return refused
