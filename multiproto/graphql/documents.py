"""Documents, parsed and validated, and the last ones kept: that work costs forty times an execution."""

from __future__ import annotations

from collections import OrderedDict

from attrs import Factory, define, field
from graphql import (
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    parse,
    specified_rules,
    validate,
)

from .faults import declined
from .limits import QueryLimits, check_document

KEPT = 131_072  # characters of all documents kept; their trees take some 200 bytes for each


@define(eq=False, repr=False)
class Documents:
    _schema: GraphQLSchema
    _limits: QueryLimits
    hides_schema: bool  # no introspection, and no names suggested in errors
    _kept: OrderedDict[str, DocumentNode] = Factory(OrderedDict)  # by text, the longest unused first
    _size: int = field(default=0, init=False)  # characters of them

    def read(self, text: str) -> DocumentNode:
        """The document that `text` says.  Raises `Declined`."""
        document = self._kept.get(text)
        if document is None:
            document = self._parse(text)
            self._validate(document)
            self._keep(text, document)
        self._kept.move_to_end(text)
        return document

    def _parse(self, text: str) -> DocumentNode:
        limits = self._limits
        try:
            return parse(
                text,
                max_lexical_tokens=limits.tokens,
                max_comments=limits.comments,
                max_source_length=limits.source,
            )
        except GraphQLError as error:
            raise declined([error], "GRAPHQL_PARSE_FAILED") from None

    def _validate(self, document: DocumentNode) -> None:
        try:
            check_document(document, self._limits)
        except GraphQLError as error:
            raise declined([error]) from None
        rules = specified_rules + ((NoSchemaIntrospectionCustomRule,) if self.hides_schema else ())
        errors = validate(self._schema, document, rules, max_errors=20, hide_suggestions=self.hides_schema)
        if errors:
            raise declined(errors, "GRAPHQL_VALIDATION_FAILED")

    def _keep(self, text: str, document: DocumentNode) -> None:
        self._kept[text] = document
        self._size += len(text)
        while self._size > KEPT and len(self._kept) > 1:
            forgotten, _ = self._kept.popitem(last=False)
            self._size -= len(forgotten)
