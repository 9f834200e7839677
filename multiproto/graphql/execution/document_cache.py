"""Parses and validates documents, and caches those that come again: that work costs forty times an execution.

The first time only a hash of the text is kept: whoever sends ever new documents
does not push out those of others, and leaves nothing for long-lived garbage.
"""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from attrs import Factory, define, field
from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    ParallelVisitor,
    TypeInfo,
    TypeInfoVisitor,
    ValidationContext,
    Visitor,
    default_field_resolver,
    default_type_resolver,
    specified_rules,
    visit,
)
from graphql.execution import Executor, get_variable_values
from graphql.execution.collect_fields import FragmentDetails
from graphql.validation.validate import ValidationAbortedError, query_document_keys_to_validate
from graphql.validation.validation_context import VariableUsage, VariableUsageVisitor

from ...base.bounded_map import BoundedMap
from .compiled_selections import CompiledExecutor, SelectionCompiler
from .errors import request_error
from .light_parser import LightParser
from .limits import QueryLimits, check_complexity, check_document

MAX_CACHED_DOCUMENTS = 4096
MAX_CACHED_CHARACTERS = (
    131_072  # characters of all cached documents; their syntax trees take some 200 bytes for each
)
MAX_ERRORS = 20  # reported for a document, or for the variables of a request
TOO_MANY_ERRORS = "Too many validation errors, error limit reached. Validation aborted."


@define(eq=False, repr=False)
class CachedDocument:
    """A validated document, and its operations as far as they were executed."""

    document: DocumentNode
    compiler: SelectionCompiler = Factory(SelectionCompiler)
    operations: dict[str | None, CachedOperation] = Factory(dict)  # by `operationName`


@define(eq=False, repr=False)
class CachedOperation:
    """An operation, as far as it is the same for all variables.

    It must not refer to an executor, which has the caller, the variables and the result
    of one execution.
    """

    operation: OperationDefinitionNode
    fragment_definitions: dict[str, FragmentDefinitionNode]
    fragments: dict[str, FragmentDetails]
    checked_numbers: tuple[tuple[str, int], ...] | None = (
        None  # variables with which its complexity was accepted
    )


@define(eq=False, repr=False)
class DocumentCache:
    _schema: GraphQLSchema
    _limits: QueryLimits
    hides_schema: bool  # no introspection, and no names suggested in errors
    _cache: BoundedMap[str, CachedDocument] = field(init=False)  # by text
    _seen_once: BoundedMap[int, bool] = field(init=False)  # hashes of valid texts

    def __attrs_post_init__(self) -> None:
        self._seen_once = BoundedMap(MAX_CACHED_DOCUMENTS)
        self._cache = BoundedMap(MAX_CACHED_DOCUMENTS, MAX_CACHED_CHARACTERS)

    def get_executor(self, text: str, name: str | None, variables: Mapping[str, Any]) -> Executor[Any]:
        """An executor for one execution of the operation `name` of the document `text`.  Raises `RequestError`."""
        cached = self.get_document(text)
        operation = cached.operations.get(name)
        if operation is None:
            executor = self._build_executor(cached, name, variables)
            operation = CachedOperation(executor.operation, executor.fragment_definitions, executor.fragments)
            if len(cached.operations) < len(cached.document.definitions) + 1:  # each has one name, or none
                cached.operations[name] = operation
        else:
            executor = self._rebuild_executor(cached, operation, variables)
        self._check_complexity(cached, operation, executor)
        return executor

    def get_document(self, text: str) -> CachedDocument:
        """The document in `text`, parsed and validated.  Raises `RequestError`."""
        cached = self._cache.get(text)
        if cached is None:
            document = self._parse(text)
            self._validate(document)
            cached = CachedDocument(document)
            if self._seen_once.pop(hash(text)):
                self._cache.put(text, cached, len(text))
            else:
                self._seen_once.put(hash(text), True)
        return cached

    def _build_executor(
        self, cached: CachedDocument, name: str | None, variables: Mapping[str, Any]
    ) -> CompiledExecutor:
        built = CompiledExecutor.build(
            self._schema,
            cached.document,
            raw_variable_values=dict(variables),
            operation_name=name,
            max_coercion_errors=MAX_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(built, list):
            raise request_error(built)
        assert isinstance(built, CompiledExecutor)
        built.compiler = cached.compiler
        return built

    def _rebuild_executor(
        self, cached: CachedDocument, cached_operation: CachedOperation, variables: Mapping[str, Any]
    ) -> CompiledExecutor:
        """An executor of a cached operation."""
        operation = cached_operation.operation
        values = get_variable_values(
            self._schema,
            operation.variable_definitions or (),
            dict(variables),
            max_errors=MAX_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(values, list):
            raise request_error(values)
        rebuilt = CompiledExecutor(
            self._schema,
            cached_operation.fragment_definitions,
            cached_operation.fragments,
            None,
            None,
            operation,
            values,
            default_field_resolver,
            default_type_resolver,
            default_field_resolver,
            hide_suggestions=self.hides_schema,
        )
        rebuilt.compiler = cached.compiler
        return rebuilt

    def _check_complexity(
        self, cached: CachedDocument, operation: CachedOperation, executor: Executor[Any]
    ) -> None:
        """Check the complexity again only for other numbers: on nothing else it depends."""
        values = executor.variable_values.coerced
        numbers = tuple((name, value) for name, value in values.items() if isinstance(value, int))
        if numbers == operation.checked_numbers:
            return
        try:
            check_complexity(cached.document, executor.operation, values, self._limits)
        except GraphQLError as error:
            raise request_error([error]) from None
        operation.checked_numbers = numbers

    def _parse(self, text: str) -> DocumentNode:
        limits = self._limits
        try:
            return LightParser(text, limits.tokens, limits.comments, limits.source_length).parse_document()
        except GraphQLError as error:
            raise request_error([error], "GRAPHQL_PARSE_FAILED") from None

    def _validate(self, document: DocumentNode) -> None:
        try:
            check_document(document, self._limits)
        except GraphQLError as error:
            raise request_error([error]) from None
        rules = specified_rules + ((NoSchemaIntrospectionCustomRule,) if self.hides_schema else ())
        errors: list[GraphQLError] = []

        def on_error(error: GraphQLError) -> None:
            if len(errors) >= MAX_ERRORS:
                raise ValidationAbortedError(TOO_MANY_ERRORS)
            errors.append(error)

        # As graphql-core's `validate`, which does not let go of its visitors.
        type_info = TypeInfo(self._schema)
        context = _Validation(self._schema, document, type_info, on_error, self.hides_schema)
        visitors = [rule(context) for rule in rules]
        try:
            _visit(document, type_info, ParallelVisitor(visitors), query_document_keys_to_validate)
        except ValidationAbortedError as error:
            errors.append(error.with_traceback(None))
        _let_go(visitors)
        if errors:
            raise request_error(errors, "GRAPHQL_VALIDATION_FAILED")


class _Validation(ValidationContext):
    def get_variable_usages(self, node: Any) -> list[VariableUsage]:
        """As graphql-core's, which does not let go of its visitors, either."""
        usages = self._variable_usages.get(node)
        if usages is None:
            fragment = node if isinstance(node, FragmentDefinitionNode) else None
            visitor = VariableUsageVisitor(self._type_info, fragment)
            usages = self._variable_usages[node] = visitor.usages
            _visit(node, self._type_info, visitor)
        return usages


def _visit(
    node: Node, type_info: TypeInfo, visitor: Visitor, keys: dict[str, tuple[str, ...]] | None = None
) -> None:
    """Visit `node` once with `visitor`, which `type_info` follows."""
    with_types = TypeInfoVisitor(type_info, visitor)
    try:
        visit(node, with_types, keys)
    finally:
        _let_go((visitor, with_types))


def _let_go(visitors: Sequence[Visitor]) -> None:
    """Each refers to itself, and to what it has found out about all of the document: garbage in a circle."""
    for visitor in visitors:
        vars(visitor).clear()
