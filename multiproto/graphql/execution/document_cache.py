"""Documents, parsed and validated, and the last ones kept: that work costs forty times an execution."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Mapping

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
from graphql.execution import Executor, get_variable_values

from .compiled_selections import CompiledExecutor, SelectionCompiler
from .errors import request_error
from .limits import QueryLimits, check_complexity, check_document

MAX_CACHED_CHARACTERS = 131_072  # characters of all documents kept; their trees take some 200 bytes for each
MAX_ERRORS = 20  # that are told of one document's variables, or of the document itself


@define(eq=False, repr=False)
class CachedDocument:
    """A document, and what is known of its operations."""

    document: DocumentNode
    compiler: SelectionCompiler | None  # where graphql-core has help
    operations: dict[str | None, CachedOperation] = Factory(dict)  # by the name they are asked for


@define(eq=False, repr=False)
class CachedOperation:
    """An operation, as far as it is the same each time; `checked_numbers` are the numbers it was weighed with and found good."""

    executor: Executor[Any]
    checked_numbers: tuple[tuple[str, int], ...] | None = None


@define(eq=False, repr=False)
class DocumentCache:
    _schema: GraphQLSchema
    _limits: QueryLimits
    hides_schema: bool  # no introspection, and no names suggested in errors
    _fast: bool = True
    _cache: OrderedDict[str, CachedDocument] = Factory(OrderedDict)  # by text, the longest unused first
    _size: int = field(default=0, init=False)  # characters of them

    def get_executor(self, text: str, name: str | None, variables: Mapping[str, Any]) -> Executor[Any]:
        """What executes an operation of the document that `text` says, once.  Raises `Declined`."""
        kept = self.get_document(text)
        prepared = kept.operations.get(name)
        if prepared is None:
            executor = self._build_executor(kept, name, variables)
            prepared = CachedOperation(executor)
            if len(kept.operations) < len(kept.document.definitions) + 1:  # each has one name, or none
                kept.operations[name] = prepared
        else:
            executor = self._rebuild_executor(kept, prepared.executor, variables)
        self._check_complexity(kept, prepared, executor)
        return executor

    def get_document(self, text: str) -> CachedDocument:
        """The document that `text` says.  Raises `Declined`."""
        kept = self._cache.get(text)
        if kept is None:
            document = self._parse(text)
            self._validate(document)
            kept = CachedDocument(document, SelectionCompiler() if self._fast else None)
            self._store(text, kept)
        self._cache.move_to_end(text)
        return kept

    def _build_executor(
        self, kept: CachedDocument, name: str | None, variables: Mapping[str, Any]
    ) -> Executor[Any]:
        kind = Executor if kept.compiler is None else CompiledExecutor
        built = kind.build(
            self._schema,
            kept.document,
            raw_variable_values=dict(variables),
            operation_name=name,
            max_coercion_errors=MAX_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(built, list):
            raise request_error(built)
        return _with_compiler(built, kept.compiler)

    def _rebuild_executor(
        self, kept: CachedDocument, known: Executor[Any], variables: Mapping[str, Any]
    ) -> Executor[Any]:
        """Another one of an operation that was built before."""
        wanted = known.operation.variable_definitions or ()
        values = get_variable_values(
            self._schema,
            wanted,
            dict(variables),
            max_errors=MAX_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(values, list):
            raise request_error(values)
        made = type(known)(
            self._schema,
            known.fragment_definitions,
            known.fragments,
            None,
            None,
            known.operation,
            values,
            known.field_resolver,
            known.type_resolver,
            known.subscribe_field_resolver,
            hide_suggestions=self.hides_schema,
        )
        return _with_compiler(made, kept.compiler)

    def _check_complexity(
        self, kept: CachedDocument, prepared: CachedOperation, executor: Executor[Any]
    ) -> None:
        """How large an answer may be depends on nothing but numbers."""
        values = executor.variable_values.coerced
        numbers = tuple((name, value) for name, value in values.items() if isinstance(value, int))
        if numbers == prepared.checked_numbers:
            return
        try:
            check_complexity(kept.document, executor.operation, values, self._limits)
        except GraphQLError as error:
            raise request_error([error]) from None
        prepared.checked_numbers = numbers

    def _parse(self, text: str) -> DocumentNode:
        limits = self._limits
        try:
            return parse(
                text,
                max_lexical_tokens=limits.tokens,
                max_comments=limits.comments,
                max_source_length=limits.source_length,
            )
        except GraphQLError as error:
            raise request_error([error], "GRAPHQL_PARSE_FAILED") from None

    def _validate(self, document: DocumentNode) -> None:
        try:
            check_document(document, self._limits)
        except GraphQLError as error:
            raise request_error([error]) from None
        rules = specified_rules + ((NoSchemaIntrospectionCustomRule,) if self.hides_schema else ())
        errors = validate(
            self._schema, document, rules, max_errors=MAX_ERRORS, hide_suggestions=self.hides_schema
        )
        if errors:
            raise request_error(errors, "GRAPHQL_VALIDATION_FAILED")

    def _store(self, text: str, kept: CachedDocument) -> None:
        self._cache[text] = kept
        self._size += len(text)
        while self._size > MAX_CACHED_CHARACTERS and len(self._cache) > 1:
            forgotten, _ = self._cache.popitem(last=False)
            self._size -= len(forgotten)


def _with_compiler(executor: Executor[Any], plans: SelectionCompiler | None) -> Executor[Any]:
    if isinstance(executor, CompiledExecutor) and plans is not None:
        executor.compiler = plans
    return executor
