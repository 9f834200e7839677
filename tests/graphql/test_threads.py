"""GraphQL on a real reactor, where the store reads and writes in threads."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor

from multiproto.base import strict_json
from multiproto.broker.memory import MemoryBroker
from multiproto.core.connections.admission import Admission, ConnectionLimits
from multiproto.core.connections.hub import Hub
from multiproto.core.domain.messages import Messages
from multiproto.core.identity import Identity
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import Namespaces
from multiproto.core.pubsub.policy import Policy
from multiproto.core.pubsub.publisher import Publisher
from multiproto.core.pubsub.replay import ReplayReader
from multiproto.graphql.execution.context import Caller
from multiproto.graphql.execution.request import GraphQLRequest
from multiproto.graphql.wiring import GraphQLDependencies, make_operation_executor
from multiproto.observe.protocol_stats import ProtocolStats

from ..fakes import FakeAuthenticator, PlainPasswords, make_account_services, make_turns
from ..stores import StoreCase
from .server import PASSWORD, PlainTokens

QUERY = """query($limit: Int!) { users(limit: $limit) { edges { node { name
    messages(limit: $limit) { edges { node { user { name } recipient { name } } } } } } } }"""


async def unlimited(host: str, user_id: str | None) -> None:
    """A count of requests without a limit."""


class ThreadedStoreTests(StoreCase):
    async def asyncSetUp(self) -> None:
        audience, namespaces = Dispatcher(), Namespaces.with_builtin(())
        clock: Any = reactor
        publisher = Publisher(
            Policy(),
            MemoryBroker(audience),
            self.sends,
            namespaces,
            self.now,
            self.new_id,
            strict_json.dumps,
            strict_json.dumps_canonically,
        )
        history = ReplayReader(self.store, audience, namespaces, clock)
        gate = FakeAuthenticator()
        self.members = make_account_services(
            self.store, PlainPasswords(), PlainTokens(), clock, self.now, self.new_id
        )
        self.accounts = self.members.accounts
        self.messages = Messages(self.store, self.sends, self.events, Policy(), self.now, self.new_id)
        line = Admission(ConnectionLimits(), ProtocolStats("graphql"))
        hub = Hub(gate, audience, history, publisher, clock, self.new_id, make_turns(clock))
        self.operations = make_operation_executor(
            GraphQLDependencies(
                self.members,
                gate,
                self.messages,
                publisher,
                hub,
                clock,
                line,
                line,
                health=self.asyncSetUp,  # type: ignore[arg-type]
                allowed_origin=lambda origin: False,
                on_operation=lambda *what: None,
                count_request=unlimited,
            )
        )

    async def test_statements_do_not_grow_with_the_lists(self) -> None:
        """Three trips to the store, for one user's messages as for five users'.

        docs/predecessor-faults.md#fault-25
        """
        for name in ("Ann", "Bob", "Eve", "Dan", "Cleo"):
            fields = {"email": f"{name}@example.org", "name": name, "password": PASSWORD}
            user = (await self.accounts.register(fields)).value
            who = Identity(user.id, "s", 1e12, deadline=1e12)
            for _ in range(5):
                await self.messages.send(who, {"content": "x", "channelId": "c"})
        caller = Caller("192.0.2.1", who)
        for limit in (1, 5):
            self.reads_and_writes.clear()
            operation = self.operations.prepare(GraphQLRequest(QUERY, variables={"limit": limit}))
            result = await self.operations.execute(operation, caller)
            users = result["data"]["users"]["edges"]
            self.assertEqual([len(user["node"]["messages"]["edges"]) for user in users], [limit] * limit)
            self.assertEqual(self.reads_and_writes, ["read"] * 3)
