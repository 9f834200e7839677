"""What is still done for an operation of a socket that was closed, or for which it was completed, while it waited."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from multiproto.core.identity import Identity
from multiproto.graphql.execution.context import Caller
from multiproto.graphql.execution.request import GraphQLRequest
from multiproto.graphql.transport.running_operations import RunningOperations
from multiproto.graphql.wiring import make_operation_executor

from ..server import START, ServerCase

SEND = GraphQLRequest('mutation { sendMessage(input: {content: "x", channelId: "c"}) { id } }')
INVALID = GraphQLRequest("{ nothing }")


class WaitTests(ServerCase):
    def setUp(self) -> None:
        super().setUp()
        self.executor = make_operation_executor(self.needs)
        self.waiting: list[Deferred[None]] = []
        self.sent: list[bytes] = []
        self.busy: list[bool] = []
        self.operations = RunningOperations(
            self.executor,
            self.wait_for_turn,
            self.wait_until_writable,
            self.caller,
            self.sent.append,
            self.busy.append,
        )

    async def wait_for_turn(self, is_prepared: bool) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]

    async def wait_until_writable(self) -> None:
        """It is."""

    async def caller(self) -> Caller:
        return Caller("192.0.2.1", Identity(self.ann, "s", START + 900))

    def next_turn(self) -> None:
        self.waiting.pop(0).callback(None)
        self.turn()

    @property
    def prepared_documents(self) -> int:
        return len(self.executor._document_cache._seen_once)

    @property
    def sent_messages(self) -> int:
        return len(self.data("{ messages { edges { node { id } } } }", self.ann)["messages"]["edges"])

    def test_it_is_prepared_in_one_turn_and_executed_in_another(self) -> None:
        self.operations.start("1", SEND)
        self.assertEqual((self.prepared_documents, self.sent_messages), (0, 0))
        self.next_turn()
        self.assertEqual((self.prepared_documents, self.sent_messages), (1, 0))
        self.next_turn()
        self.assertEqual((self.sent_messages, len(self.sent), self.waiting), (1, 2, []))

    def test_nothing_is_prepared_for_who_has_left(self) -> None:
        for request in (SEND, INVALID):
            self.operations.start("1", request)
            self.operations.stop()
            self.next_turn()
        self.assertEqual((self.prepared_documents, self.sent, self.waiting), (0, [], []))

    def test_nor_executed(self) -> None:
        self.operations.start("1", SEND)
        self.next_turn()
        self.operations.complete("1")
        self.next_turn()
        self.assertEqual((self.sent_messages, self.sent, self.waiting), (0, [], []))
