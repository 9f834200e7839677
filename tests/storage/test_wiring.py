"""Each engine is made from the configuration by one table."""

from __future__ import annotations

from time import time

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import load_config
from multiproto.core.pubsub.namespaces import Namespaces
from multiproto.observe.metrics import Metrics
from multiproto.storage.postgresql.store import PostgresStore
from multiproto.storage.sqlite.store import SqliteStore
from multiproto.storage.wiring import make_store

SECRET = "x" * 32


class WiringTests(SynchronousTestCase):
    def made(self, **settings: str) -> tuple[type, Metrics]:
        metrics = Metrics()
        config = load_config(settings, {}, folder=None).config
        store = make_store(
            config,
            reactor=Clock(),
            now=time,
            namespaces=Namespaces.with_builtin(config.namespaces),
            metrics=metrics,
        )
        return type(store), metrics

    def test_without_an_address_it_is_the_embedded_one(self) -> None:
        self.assertIs(self.made(DATA_DIR=self.mktemp())[0], SqliteStore)

    def test_with_the_address_of_postgresql_it_is_that(self) -> None:
        self.assertIs(
            self.made(DATABASE_URL="postgresql://x@localhost/x", JWT_SECRET=SECRET)[0], PostgresStore
        )

    def test_its_connections_and_queues_are_metrics(self) -> None:
        _, metrics = self.made(DATA_DIR=self.mktemp())
        values = {
            (sample.name, *sample.labels.values()): sample.value
            for family in metrics.registry.collect()
            for sample in family.samples
        }
        self.assertEqual(values["database_connections_active",], 0)
        self.assertEqual(values["thread_pool_queue", "database read"], 0)
        self.assertEqual(values["thread_pool_queue", "database write"], 0)
