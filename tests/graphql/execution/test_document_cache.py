"""What the cache of documents keeps from one execution of an operation to the next."""

from __future__ import annotations

import gc
from weakref import ref

from twisted.internet.defer import Deferred

from multiproto.core.identity import Identity
from multiproto.graphql.execution.context import Caller
from multiproto.graphql.execution.request import GraphQLRequest
from multiproto.graphql.wiring import make_operation_executor

from ..server import START, ServerCase

QUERY = "query($limit: Int) { messages(limit: $limit) { edges { node { content } } } }"


class DocumentCacheTests(ServerCase):
    def test_a_document_that_came_once_leaves_no_garbage_in_circles(self) -> None:
        """Of ever new documents, what had validated them held all of them until a collection."""
        documents = make_operation_executor(self.needs)._document_cache
        self.addCleanup(gc.enable)
        gc.disable()
        for text in (QUERY, "{ me { ...F } } fragment F on User { id }"):
            self.assertIsNone(ref(documents.get_document(text).document)())

    def test_nothing_of_an_execution_is_kept(self) -> None:
        """Its variables may hold a password, its context has the caller, and its result may be large.

        Without a garbage collection: until the next one, the results of fifty lists would be kept.
        """
        operations = make_operation_executor(self.needs)
        self.addCleanup(gc.enable)
        gc.disable()
        caller = Caller("192.0.2.1", Identity(self.ann, "s", START + 900))
        for time in ("first", "second", "third"):
            prepared = operations.prepare(GraphQLRequest(QUERY, variables={"limit": 1}))
            executor = ref(prepared.executor)
            running = Deferred.fromCoroutine(operations.execute(prepared, caller))
            self.turn()
            self.assertEqual(self.successResultOf(running), {"data": {"messages": {"edges": []}}})
            del prepared, running
            self.assertIsNone(executor(), time)
