"""Parses documents into syntax trees that are light to keep: of each location only where it begins and ends.

Each location of graphql-core refers to two tokens, and these to all others, so that two thirds of the objects of a
cached document are of no use, and each full garbage collection visits them.  Ours refer to
none, are not visited, and the tokens are freed at once: nothing else is different.
"""

from __future__ import annotations

from graphql import DocumentNode, Lexer, Source, Token
from graphql.language.parser import Parser, nested_too_deeply_error
from msgspec import Struct


class LightLocation(Struct, frozen=True, gc=False):
    """As graphql-core's, without its tokens.  Not visited by the garbage collector."""

    start: int  # the offset in characters
    end: int
    source: Source


class LightParser(Parser):
    """graphql-core's parser, but for the locations."""

    def __init__(self, text: str, max_tokens: int, max_comments: int, max_characters: int) -> None:
        self._own_lexer = Lexer(Source(text))
        super().__init__(
            self._own_lexer.source,
            lexer=self._own_lexer,
            max_lexical_tokens=max_tokens,
            max_comments=max_comments,
            max_source_length=max_characters,
        )

    def parse_document(self) -> DocumentNode:
        """Raises `GraphQLError` for a syntax error."""
        try:
            return super().parse_document()
        except RecursionError:
            pass
        finally:
            self._unlink_tokens()
        raise nested_too_deeply_error(self)

    def loc(self, start_token: Token) -> LightLocation:  # type: ignore[override]  # all that is used of it
        lexer = self._own_lexer
        return LightLocation(start_token.start, lexer.last_token.end, lexer.source)

    def _unlink_tokens(self) -> None:
        """Let go of each token: they refer to each other in circles."""
        token: Token | None = self._own_lexer.token
        while token is not None and token.next is not None:  # read ahead, and then refused
            token = token.next
        while token is not None:
            before, token.prev, token.next = token.prev, None, None
            token = before
