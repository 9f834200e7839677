"""Persisted queries: a document is sent once, and named by its hash from then on."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from multiproto.graphql.execution import persisted_queries

from ..server import ServerCase


class PersistedTests(ServerCase):
    QUERY = "{ me { name } }"

    def named(self, text: str, query: str | None = None, **changes: Any) -> Any:
        extension = {"version": 1, "sha256Hash": sha256(text.encode()).hexdigest(), **changes}
        body: dict[str, Any] = {"extensions": {"persistedQuery": extension}}
        return self.post(body if query is None else {"query": query, **body}, self.ann).answer.json

    def code(self, answer: Any) -> str:
        return str(answer["errors"][0]["extensions"]["code"])

    def test_said_once_and_named_from_then_on(self) -> None:
        unknown = self.named(self.QUERY)
        self.assertEqual(
            (unknown["errors"][0]["message"], self.code(unknown)),
            ("PersistedQueryNotFound", persisted_queries.NOT_FOUND),
        )
        for query in (self.QUERY, None, None):
            self.assertEqual(self.named(self.QUERY, query), {"data": {"me": {"name": "Ann"}}})

    def test_the_hash_must_be_that_of_the_document(self) -> None:
        self.assertEqual(self.code(self.named("{ other }", self.QUERY)), "BAD_REQUEST")
        self.assertEqual(self.code(self.named("{ other }")), persisted_queries.NOT_FOUND)

    def test_what_was_not_good_is_not_kept(self) -> None:
        self.assertEqual(self.code(self.named("{ nothing }", "{ nothing }")), "GRAPHQL_VALIDATION_FAILED")
        self.assertEqual(self.code(self.named("{ nothing }")), persisted_queries.NOT_FOUND)

    def test_what_is_no_hash(self) -> None:
        for changes in ({"version": 2}, {"sha256Hash": "x"}, {"sha256Hash": None}, {"sha256Hash": "A" * 64}):
            self.assertEqual(self.code(self.named(self.QUERY, self.QUERY, **changes)), "BAD_REQUEST")

    def test_those_used_last_are_kept(self) -> None:
        first, second, third = "{ me { id } }", "{ me { name } }", "{ me { email } }"
        self.patch(persisted_queries, "MAX_CACHED_CHARACTERS", len(first) + len(third))
        self.serve()
        for text in (first, second):
            self.named(text, text)
        self.named(first, first)
        self.named(third, third)
        found = ["errors" not in self.named(text) for text in (first, second, third)]
        self.assertEqual(found, [True, False, True])
