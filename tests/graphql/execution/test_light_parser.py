"""Our parser gives what graphql-core's does, and keeps less of it."""

from __future__ import annotations

import contextlib
import gc

from graphql import DocumentNode, GraphQLError, Token, build_schema, parse, validate
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execution.light_parser import LightParser
from multiproto.graphql.schema.build import load_sdl

WHOLE = """query Q($limit: Int = 2) { # of three
  all: users(limit: $limit) { edges { node { ...F } } } ... @skip(if: false) { me { id } }
}
fragment F on User { id, messages(limit: 1, page: 2) { cursor } }"""
FAULTY = (
    "{ users(",
    "{\n  users { nothing }\n}",
    "# é\nquery { me { id } ...F }",
    "{ \u2028 }",
    "{ ",
    "{ x" * 900,
)


def count_tokens() -> int:
    return sum(isinstance(each, Token) for each in gc.get_objects())


class LightParserTests(SynchronousTestCase):
    def test_the_same_tree(self) -> None:
        """With the same locations."""
        light = self.parse(WHOLE).to_dict(locations=True)
        self.assertEqual(light, parse(WHOLE).to_dict(locations=True))

    def test_the_same_errors(self) -> None:
        schema = build_schema(load_sdl())
        for text in FAULTY:
            found = []
            for parse_text in (parse, self.parse):
                try:
                    errors = validate(schema, parse_text(text))
                except GraphQLError as error:
                    errors = [error]
                found.append([(str(error), error.formatted) for error in errors])
            self.assertTrue(found[0])
            self.assertEqual(*found)

    def test_tokens_are_freed_at_once(self) -> None:
        """Without a garbage collection, also those of a text that is refused."""
        gc.disable()
        self.addCleanup(gc.enable)
        before, document = count_tokens(), self.parse(WHOLE)
        with contextlib.suppress(GraphQLError):  # `assertRaises` would keep its frames
            self.parse(WHOLE[:-1])
        self.assertEqual(count_tokens(), before)
        self.assertFalse(gc.is_tracked(document.loc))

    def parse(self, text: str) -> DocumentNode:
        return LightParser(text, 5000, 500, 10_000).parse_document()
