"""Compiles selections of plain values into functions, once for each cached document.

For every field of every item, graphql-core looks up its definition, its arguments,
its resolver and the kind of its type, and builds a path.  Where everything below a
field is read from dicts and nothing depends on variables, all that can be done
beforehand.  A value that is unusual (a null where there may be none, another type
than the schema has) is left to graphql-core, from the field down: reading has
no effects, so its answer and its errors are the only ones.

A relation field (see `prefetch`) can be compiled as well: its value is read from
the dict of its owner once it was prefetched, and a compiled selection can
collect all relations that have to be.

The fields of introspection have resolvers, which read the schema and nothing else: their arguments are what can be
found out beforehand.

With `root_prefetch`, a list of 50 with 5 fields and a cursor each costs 480
instead of 2,900 µs of CPU (docs/decisions/022-graphql-plans.md).
"""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from types import SimpleNamespace
from typing import Any, Callable, Iterator, Mapping

from attrs import Factory, define, frozen
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionSetNode,
    VariableNode,
    is_introspection_type,
)
from graphql.execution import Executor, get_argument_values
from graphql.type.definition import GraphQLResolveInfoHelpers

from .prefetch import PREFETCHED_KEY_PREFIX, RELATION_EXTENSION, RelationField

Completer = Callable[[Any], Any]
PendingRelations = list[tuple[dict[str, Any], RelationField]]  # owners of relations to prefetch
RelationCollector = Callable[[Any, PendingRelations], None]

STRING_SCALARS = frozenset(
    ("String", "ID", "DateTime")
)  # scalars whose values are strings that are sent unchanged
# Introspection has such views of dicts, too.
LISTS: tuple[type, ...] = (list, tuple, type({}.values()), type({}.items()))


@frozen(eq=False)
class CompiledSelection:
    complete: Completer  # raises `UnexpectedValue`
    collect_relations: RelationCollector | None = None  # set if there are relations, to be prefetched before


class UnexpectedValue(Exception):
    """A value that a compiled selection leaves to graphql-core."""


class NotCompilable(Exception):
    """A selection that is left to graphql-core."""


@define(eq=False, repr=False)
class SelectionCompiler:
    """The compiled selections of one document."""

    _compiled: dict[int, tuple[FieldNode, CompiledSelection | None]] = Factory(dict)  # by the field's node

    def compile(
        self, node: FieldNode, type_: GraphQLOutputType, executor: Executor[Any]
    ) -> CompiledSelection | None:
        """The compiled selection of `node`; `None` if it is left to graphql-core."""
        entry = self._compiled.get(id(node))
        if entry is None:
            try:
                document = Document(executor.schema, executor.fragment_definitions)
                compiled: CompiledSelection | None = _compile_type(type_, node.selection_set, document)
            except NotCompilable:
                compiled = None
            entry = self._compiled[id(node)] = node, compiled  # keeps `node` alive, so no other gets its id
        return entry[1]


class CompiledExecutor(Executor[Any]):
    """graphql-core's executor, which tries the compiled selection of a field first."""

    compiler: SelectionCompiler
    prefetched: CompiledSelection | None = None  # the selection whose relations were prefetched

    @property
    def async_helpers(self) -> GraphQLResolveInfoHelpers:  # type: ignore[override]
        """Made on access: kept in the executor they would refer back to it, and its answer would be garbage in a circle.

        A list of 50 cost 30 µs more in collections alone, and its memory was not used again by the next one.
        """
        return GraphQLResolveInfoHelpers(gather=self.gather_async_work, track=self.track_async_work)

    @async_helpers.setter
    def async_helpers(self, helpers: GraphQLResolveInfoHelpers) -> None:
        """graphql-core's are not kept."""

    def complete_value(self, return_type, field_details_list, info, path, result, position_context):  # type: ignore[no-untyped-def]
        if len(field_details_list) == 1 and not isinstance(result, Exception):
            compiled = self.compiler.compile(field_details_list[0].node, info.return_type, self)
            if (
                compiled is not None
                and compiled.collect_relations is not None
                and compiled is not self.prefetched
            ):
                compiled = None
            if compiled is not None and return_type is info.return_type:
                try:
                    return compiled.complete(result)
                except UnexpectedValue:
                    pass
        return super().complete_value(return_type, field_details_list, info, path, result, position_context)


@frozen(eq=False)
class Document:
    """What is selected from, and by which fragments."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]


def _compile_type(
    type_: GraphQLOutputType, selected: SelectionSetNode | None, document: Document
) -> CompiledSelection:
    if isinstance(type_, GraphQLNonNull):
        return _compile_non_null(type_.of_type, selected, document)
    inner = _compile_non_null(type_, selected, document)
    return CompiledSelection(_complete_nullable(inner.complete), inner.collect_relations)


def _compile_non_null(
    type_: GraphQLOutputType, selected: SelectionSetNode | None, document: Document
) -> CompiledSelection:
    """For a value that is not null: a null raises `UnexpectedValue`."""
    if isinstance(type_, GraphQLList):
        return _compile_list(_compile_type(type_.of_type, selected, document))
    if isinstance(type_, GraphQLScalarType):
        return CompiledSelection(_compile_scalar(type_))
    if isinstance(type_, GraphQLEnumType) and is_introspection_type(type_):
        return CompiledSelection(_complete_enum(type_))
    if isinstance(type_, GraphQLObjectType) and selected is not None and is_introspection_type(type_):
        return CompiledSelection(_compile_introspection(type_, selected, document))
    if isinstance(type_, GraphQLObjectType) and type_.is_type_of is None and selected is not None:
        return _compile_object(type_, selected, document)
    raise NotCompilable


def _complete_nullable(complete: Completer) -> Completer:
    return lambda value: None if value is None else complete(value)


def _compile_list(item: CompiledSelection) -> CompiledSelection:
    complete_item, collect_from_item = item.complete, item.collect_relations

    def complete(value: Any) -> Any:
        if type(value) not in LISTS:
            raise UnexpectedValue
        return [complete_item(member) for member in value]

    def collect(value: Any, pending: PendingRelations) -> None:
        if collect_from_item is not None and isinstance(value, (list, tuple)):
            for member in value:
                collect_from_item(member, pending)

    return CompiledSelection(complete, collect if collect_from_item else None)


def _compile_scalar(type_: GraphQLScalarType) -> Completer:
    """Completes a scalar by its own coercion; unusual results are left to graphql-core."""
    if type_.name in STRING_SCALARS:
        return _complete_string
    coerce = type_.coerce_output_value

    def complete(value: Any) -> Any:
        if type(value) not in (int, float, str, bool, dict, list):
            raise UnexpectedValue
        try:
            coerced = coerce(value)
        except Exception as error:
            raise UnexpectedValue from error
        if coerced is None:
            raise UnexpectedValue
        return coerced

    return complete


def _complete_enum(type_: GraphQLEnumType) -> Completer:
    """Completes an enum of introspection, whose values are Python's, or names already."""

    def complete(value: Any) -> Any:
        try:
            return type_.coerce_output_value(value)
        except GraphQLError as error:
            raise UnexpectedValue from error

    return complete


def _complete_string(value: Any) -> Any:
    if type(value) is str:
        return value
    raise UnexpectedValue


def _compile_object(
    type_: GraphQLObjectType, selected: SelectionSetNode, document: Document
) -> CompiledSelection:
    parts: dict[str, tuple[str, str, Completer]] = {}  # response key -> it, key in the value, completer
    relations: list[RelationField] = []
    collectors: list[tuple[str, RelationCollector]] = []
    for node in _selected_fields(type_, selected, document):
        name, response_key = node.name.value, node.alias.value if node.alias else node.name.value
        if response_key in parts:
            raise NotCompilable  # graphql-core merges the selections of both
        if name == "__typename":
            parts[response_key] = response_key, "", _complete_typename(type_)
            continue
        field = type_.fields.get(name)
        relation: RelationField | None = (
            field.extensions.get(RELATION_EXTENSION) if field is not None else None
        )
        if field is None or field.args or node.arguments or (field.resolve is not None and relation is None):
            raise NotCompilable
        compiled = _compile_type(field.type, node.selection_set, document)
        if relation is not None:
            if compiled.collect_relations is not None:
                raise NotCompilable  # a relation of a relation: the first would have to be read before
            relations.append(relation)
            complete_relation = _complete_prefetched(compiled.complete)
            parts[response_key] = response_key, PREFETCHED_KEY_PREFIX + name, complete_relation
            continue
        parts[response_key] = response_key, name, compiled.complete
        if compiled.collect_relations is not None:
            collectors.append((name, compiled.collect_relations))
    fields = tuple(parts.values())
    if len(fields) > 1 and all(complete is _complete_string for _, _, complete in fields):
        return CompiledSelection(
            _complete_string_fields(tuple(parts), itemgetter(*(name for _, name, _ in fields)))
        )

    def complete(value: Any) -> Any:
        if type(value) is not dict:
            raise UnexpectedValue
        return {key: complete_field(value.get(name)) for key, name, complete_field in fields}

    def collect(value: Any, pending: PendingRelations) -> None:
        if type(value) is dict:
            pending.extend((value, relation) for relation in relations)
            for name, collect_from_field in collectors:
                collect_from_field(value.get(name), pending)

    return CompiledSelection(complete, collect if relations or collectors else None)


def _compile_introspection(
    type_: GraphQLObjectType, selected: SelectionSetNode, document: Document
) -> Completer:
    """Reads a part of the schema, of the introspection type `type_`, by the resolvers of its fields."""
    info = SimpleNamespace(schema=document.schema)  # all that they read of it
    parts: dict[
        str, tuple[str, Callable[..., Any], Completer]
    ] = {}  # response key -> it, resolver, completer
    for node in _selected_fields(type_, selected, document):
        name, response_key = node.name.value, node.alias.value if node.alias else node.name.value
        if response_key in parts or any(
            isinstance(each.value, VariableNode) for each in node.arguments or ()
        ):
            raise NotCompilable
        if name == "__typename":
            parts[response_key] = response_key, lambda value, info: type_.name, _complete_string
            continue
        field = type_.fields.get(name)
        if field is None or field.resolve is None:
            raise NotCompilable
        try:
            arguments = get_argument_values(field, node)
        except GraphQLError as error:
            raise NotCompilable from error
        resolve = partial(field.resolve, **arguments) if arguments else field.resolve
        compiled = _compile_type(field.type, node.selection_set, document)
        parts[response_key] = response_key, resolve, compiled.complete
    fields = tuple(parts.values())

    def complete(value: Any) -> Any:
        if value is None:
            raise UnexpectedValue
        return {key: complete_field(resolve(value, info)) for key, resolve, complete_field in fields}

    return complete


def _complete_prefetched(complete: Completer) -> Completer:
    """Completes a prefetched value, which is in a tuple of one, for it may be `None`."""

    def complete_prefetched(value: Any) -> Any:
        if value is None:
            raise UnexpectedValue
        return complete(value[0])

    return complete_prefetched


def _complete_string_fields(keys: tuple[str, ...], get: Callable[[Any], tuple[Any, ...]]) -> Completer:
    """Completes an object that has only string fields, as most in lists have: reading them together takes half the time."""

    def complete(value: Any) -> Any:
        if type(value) is not dict:
            raise UnexpectedValue
        try:
            values = get(value)
            "".join(values)  # the fastest check that all are strings
        except (KeyError, TypeError):
            raise UnexpectedValue from None
        return dict(zip(keys, values))

    return complete


def _complete_typename(type_: GraphQLNamedType) -> Completer:
    return lambda value: type_.name


def _selected_fields(
    type_: GraphQLObjectType, selected: SelectionSetNode, document: Document
) -> Iterator[FieldNode]:
    """The selected fields, with those of fragments in their place; raises if variables could leave any out."""
    for node in selected.selections:
        if node.directives:
            raise NotCompilable
        match node:
            case FieldNode():
                yield node
            case InlineFragmentNode(type_condition=condition):
                if condition is not None and condition.name.value != type_.name:
                    raise NotCompilable
                yield from _selected_fields(type_, node.selection_set, document)
            case FragmentSpreadNode():
                fragment = document.fragments[node.name.value]
                if node.arguments or fragment.type_condition.name.value != type_.name:
                    raise NotCompilable
                yield from _selected_fields(type_, fragment.selection_set, document)
            case _:
                raise NotCompilable
