"""Publishing with idempotency keys, on the real store."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet import reactor

from multiproto.base import strict_json
from multiproto.broker.memory import MemoryBroker
from multiproto.core.errors import Conflict
from multiproto.core.identity import Identity
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import Namespace, Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import PUBLICATION, Publisher
from multiproto.storage.sqlite.connection import connect
from multiproto.storage.sqlite.store import DATABASE_FILE
from tests.canary import PASSWORD

from ...fakes import PlainPasswords, make_account_services
from ...stores import StoreCase
from ..domain.test_accounts import NamingTokens

TOPIC = "kept.a"


class RepetitionTests(StoreCase):
    async def asyncSetUp(self) -> None:
        self.publisher = Publisher(
            Policy(),
            MemoryBroker(Dispatcher()),
            self.sends,
            Namespaces.with_builtin([Namespace("kept.*")]),
            self.now,
            self.new_id,
            strict_json.dumps,
            strict_json.dumps_canonically,
        )
        accounts = make_account_services(
            self.store, PlainPasswords(), NamingTokens(), reactor, self.now, self.new_id
        ).accounts
        ann = await accounts.register({"email": "ann@example.org", "name": "Ann", "password": PASSWORD})
        self.ann = Identity(ann.value.id, "s", 1e12)

    async def publish(self, key: str, data: str, metadata: Any = None) -> str | None:
        content = strict_json.loads(data.encode())
        return (await self.publisher.publish(self.ann, TOPIC, content, metadata, key=key)).cursor

    async def test_equal_values_are_one_publication_however_they_are_written(self) -> None:
        for number, (one, other) in enumerate(
            (
                ('{"a":1,"b":{"c":2,"d":3}}', '{ "b": {"d":3, "c":2}, "a":1 }'),
                ("[1]", "[1.0]"),
                ("[100000000000000000000]", "[1e20]"),
                ("[0, -0.0]", "[-0.0, 0]"),
                ('"\\u00e9/"', '"é\\/"'),
            )
        ):
            cursor = await self.publish(str(number), one)
            self.assertEqual(await self.publish(str(number), other), cursor, one)

    async def test_other_values_are_not(self) -> None:
        for number, (one, other) in enumerate(
            (("1", "true"), ("0", "false"), ("1", '"1"'), ("[1,2]", "[2,1]"), ("1.5", "1"), ("null", "{}"))
        ):
            await self.publish(str(number), one)
            with self.assertRaises(Conflict):
                await self.publish(str(number), other)

    async def test_no_metadata_and_empty_metadata_are_the_same(self) -> None:
        cursor = await self.publish("k", "1")
        self.assertEqual(await self.publish("k", "1", {}), cursor)
        with self.assertRaises(Conflict):
            await self.publish("k", "1", {"a": 1})

    async def test_a_key_that_an_earlier_version_stored(self) -> None:
        """It compared the text as it came."""
        cursor = await self.publish("k", '{"b":1,"a":1.0}', {"x": 1})
        earlier = repr((PUBLICATION, TOPIC, b'{"b":1,"a":1.0}', {"x": 1}))
        await self.set_fingerprint(hashlib.sha256(earlier.encode()).hexdigest())
        self.assertEqual(await self.publish("k", '{"b":1,"a":1.0}', {"x": 1}), cursor)
        with self.assertRaises(Conflict):
            await self.publish("k", '{"b":2,"a":1.0}', {"x": 1})

    async def set_fingerprint(self, fingerprint: str) -> None:
        connection = connect(self.directory / DATABASE_FILE, 1.0)
        connection.execute("UPDATE keys SET fingerprint = ?", (fingerprint,))
        connection.commit()
        connection.close()
