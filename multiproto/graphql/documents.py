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

from .faults import declined
from .limits import QueryLimits, check_complexity, check_document
from .plans import Plans, QuickExecutor

KEPT = 131_072  # characters of all documents kept; their trees take some 200 bytes for each
MOST_ERRORS = 20  # that are told of one document's variables, or of the document itself


@define(eq=False, repr=False)
class Kept:
    """A document, and what is known of its operations."""

    document: DocumentNode
    plans: Plans | None  # where graphql-core has help
    operations: dict[str | None, Prepared] = Factory(dict)  # by the name they are asked for


@define(eq=False, repr=False)
class Prepared:
    """An operation, as far as it is the same each time; `passed` are the numbers it was weighed with and found good."""

    executor: Executor[Any]
    passed: tuple[tuple[str, int], ...] | None = None


@define(eq=False, repr=False)
class Documents:
    _schema: GraphQLSchema
    _limits: QueryLimits
    hides_schema: bool  # no introspection, and no names suggested in errors
    _fast: bool = True
    _kept: OrderedDict[str, Kept] = Factory(OrderedDict)  # by text, the longest unused first
    _size: int = field(default=0, init=False)  # characters of them

    def executor(self, text: str, name: str | None, variables: Mapping[str, Any]) -> Executor[Any]:
        """What executes an operation of the document that `text` says, once.  Raises `Declined`."""
        kept = self.read(text)
        prepared = kept.operations.get(name)
        if prepared is None:
            executor = self._build(kept, name, variables)
            prepared = Prepared(executor)
            if len(kept.operations) < len(kept.document.definitions) + 1:  # each has one name, or none
                kept.operations[name] = prepared
        else:
            executor = self._again(kept, prepared.executor, variables)
        self._weigh(kept, prepared, executor)
        return executor

    def read(self, text: str) -> Kept:
        """The document that `text` says.  Raises `Declined`."""
        kept = self._kept.get(text)
        if kept is None:
            document = self._parse(text)
            self._validate(document)
            kept = Kept(document, Plans() if self._fast else None)
            self._keep(text, kept)
        self._kept.move_to_end(text)
        return kept

    def _build(self, kept: Kept, name: str | None, variables: Mapping[str, Any]) -> Executor[Any]:
        kind = Executor if kept.plans is None else QuickExecutor
        built = kind.build(
            self._schema,
            kept.document,
            raw_variable_values=dict(variables),
            operation_name=name,
            max_coercion_errors=MOST_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(built, list):
            raise declined(built)
        return _planned(built, kept.plans)

    def _again(self, kept: Kept, known: Executor[Any], variables: Mapping[str, Any]) -> Executor[Any]:
        """Another one of an operation that was built before."""
        wanted = known.operation.variable_definitions or ()
        values = get_variable_values(
            self._schema,
            wanted,
            dict(variables),
            max_errors=MOST_ERRORS,
            hide_suggestions=self.hides_schema,
        )
        if isinstance(values, list):
            raise declined(values)
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
        return _planned(made, kept.plans)

    def _weigh(self, kept: Kept, prepared: Prepared, executor: Executor[Any]) -> None:
        """How large an answer may be depends on nothing but numbers."""
        values = executor.variable_values.coerced
        numbers = tuple((name, value) for name, value in values.items() if isinstance(value, int))
        if numbers == prepared.passed:
            return
        try:
            check_complexity(kept.document, executor.operation, values, self._limits)
        except GraphQLError as error:
            raise declined([error]) from None
        prepared.passed = numbers

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
        errors = validate(
            self._schema, document, rules, max_errors=MOST_ERRORS, hide_suggestions=self.hides_schema
        )
        if errors:
            raise declined(errors, "GRAPHQL_VALIDATION_FAILED")

    def _keep(self, text: str, kept: Kept) -> None:
        self._kept[text] = kept
        self._size += len(text)
        while self._size > KEPT and len(self._kept) > 1:
            forgotten, _ = self._kept.popitem(last=False)
            self._size -= len(forgotten)


def _planned(executor: Executor[Any], plans: Plans | None) -> Executor[Any]:
    if isinstance(executor, QuickExecutor) and plans is not None:
        executor.plans = plans
    return executor
