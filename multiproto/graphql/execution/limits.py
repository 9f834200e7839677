"""Limits of depth, complexity and size of a document, checked before anything is executed.

docs/graphql.md#limits says how.  Depth and complexity go by field names alone: `edges`,
`node` and `sessions` mean one thing each in our schema, and so a document can be refused before
validation, whose work grows with the square of its size.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator, Mapping

from attrs import Factory, define, field, frozen
from graphql.language import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
)

from ...core.domain.login_sessions import MAX_SESSIONS
from .errors import coded_error

DEFAULT_LIMIT, MAX_LIMIT = 20, 100  # of a list's items (docs/common.md#limits-on-input)
MAX_SELECTION_NESTING = 50  # selection sets and fragments in each other, so that no walk exhausts the stack
INTROSPECTION_FIELDS = ("__schema", "__type")  # exempt; graphql-core's MaxIntrospectionDepthRule bounds them


@frozen
class QueryLimits:
    depth: int = 5  # fields that give objects, one below the other; `edges.node` is one
    complexity: int = 1000  # objects that an answer may hold
    tokens: int = 1000  # of one document; the worst found takes 0.03 s to validate
    comments: int = 500
    source_length: int = 131_072  # characters of one document; large values belong into variables
    aliases: int = 30  # together with repetitions of a name among the same selections
    introspections: int = 2  # `__schema` and `__type`; one may take 15 ms to answer
    directives: int = 50
    batch: int = 10  # requests in one array


def check_document(document: DocumentNode, limits: QueryLimits) -> None:
    """Raise `GraphQLError` for a document that exceeds a limit whatever its variables."""
    aliases, directives, introspections = _count_repeatable_syntax(document)
    if aliases > limits.aliases:
        raise coded_error("BAD_REQUEST", f"More than {limits.aliases} aliases and repeated fields")
    if introspections > limits.introspections:
        raise coded_error("BAD_REQUEST", f"More than {limits.introspections} introspection fields")
    if directives > limits.directives:
        raise coded_error("BAD_REQUEST", f"More than {limits.directives} directives")
    depth = _DepthVisitor(_fragments(document))
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            found = depth.measure(definition.selection_set)
            if found > limits.depth:
                raise coded_error(
                    "QUERY_DEPTH_LIMIT_EXCEEDED",
                    f"The query is {found} levels deep, at most {limits.depth} are allowed",
                )


def check_complexity(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, object],
    limits: QueryLimits,
) -> None:
    """Raise `GraphQLError` when the answer may hold too many objects.

    `document` has passed `check_document`; `variables` are coerced.  What
    @skip and @include leave out is counted too: it is an upper bound.
    """
    found = _ComplexityVisitor(_fragments(document), variables).measure(operation.selection_set)
    if found > limits.complexity:
        raise coded_error(
            "QUERY_COMPLEXITY_LIMIT_EXCEEDED",
            f"The answer may hold {found} objects, at most {limits.complexity} are allowed",
        )


Fragments = Mapping[str, FragmentDefinitionNode]


def _fragments(document: DocumentNode) -> Fragments:
    return {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }


def _count_repeatable_syntax(document: DocumentNode) -> tuple[int, int, int]:
    """How many aliases, directives and introspection fields there are in all of `document`.

    A name that comes again among the same selections counts as an alias: validation
    compares each with each.
    """
    aliases = directives = introspections = 0
    for node, within in _walk_nodes(document):
        directives += len(node.directives or ())
        if isinstance(node, FieldNode):
            if within.is_introspection and node.alias is not None:
                raise coded_error("BAD_REQUEST", "No aliases within introspection")
            name = (node.alias or node.name).value
            aliases += node.alias is not None or name in within.names
            within.names.add(name)
            introspections += node.name.value in INTROSPECTION_FIELDS
        for variable in getattr(node, "variable_definitions", None) or ():
            directives += len(variable.directives or ())
    return aliases, directives, introspections


SelectionParent = (
    OperationDefinitionNode | FragmentDefinitionNode | FieldNode | FragmentSpreadNode | InlineFragmentNode
)


@define(eq=False, repr=False)
class _Siblings:
    """The selections of one set; those of an inline fragment count to the set around it."""

    is_introspection: bool = False  # fields of `__schema` or `__type`
    names: set[str] = Factory(set)  # found so far


def _walk_nodes(document: DocumentNode) -> Iterator[tuple[SelectionParent, _Siblings]]:
    """Every node that has selections or is one, with the set that it belongs to."""
    waiting = [(node, _Siblings()) for node in document.definitions if isinstance(node, SelectionParent)]
    while waiting:
        node, siblings = waiting.pop()
        yield node, siblings
        selections = getattr(node, "selection_set", None)
        if not isinstance(node, InlineFragmentNode):
            siblings = _Siblings(siblings.is_introspection or _is_introspection(node))
        waiting.extend((child, siblings) for child in (selections.selections if selections else ()))


def _is_introspection(node: SelectionParent) -> bool:
    """Whether `node` selects from the description of the schema, whose type names begin with two underscores."""
    if isinstance(node, FragmentDefinitionNode):
        return node.type_condition.name.value.startswith("__")
    return isinstance(node, FieldNode) and node.name.value in INTROSPECTION_FIELDS


@define(eq=False, repr=False)
class _SelectionVisitor:
    """Walks through selections.  Each fragment is walked once, however often it is spread."""

    _fragments: Fragments
    _nesting: int = field(default=0, init=False)

    @contextmanager
    def _nested(self) -> Iterator[None]:
        self._nesting += 1
        if self._nesting > MAX_SELECTION_NESTING:
            raise coded_error(
                "QUERY_DEPTH_LIMIT_EXCEEDED", f"Nested in more than {MAX_SELECTION_NESTING} levels"
            )
        yield
        self._nesting -= 1


@define(eq=False, repr=False)
class _DepthVisitor(_SelectionVisitor):
    """Measures the depth: how many fields that return objects are nested."""

    _fragment_depths: dict[tuple[str, bool], int] = Factory(dict)
    _visiting: dict[str, None] = Factory(dict)  # fragments around the current node

    def measure(self, selections: SelectionSetNode, in_edges: bool = False) -> int:
        with self._nested():
            return max((self._measure_selection(node, in_edges) for node in selections.selections), default=0)

    def _measure_selection(self, node: SelectionNode, in_edges: bool) -> int:
        if isinstance(node, FieldNode):
            return self._measure_field(node, in_edges)
        if isinstance(node, FragmentSpreadNode):
            return self._measure_spread(node.name.value, in_edges)
        assert isinstance(node, InlineFragmentNode)
        return self.measure(node.selection_set, in_edges)

    def _measure_field(self, node: FieldNode, in_edges: bool) -> int:
        name = node.name.value
        if node.selection_set is None or name in INTROSPECTION_FIELDS:
            return 0
        own = 0 if in_edges and name == "node" else 1
        return own + self.measure(node.selection_set, name == "edges")

    def _measure_spread(self, name: str, in_edges: bool) -> int:
        if name in self._visiting:
            raise coded_error("GRAPHQL_VALIDATION_FAILED", f"Cannot spread fragment '{name}' within itself.")
        if name not in self._fragments:
            return 0  # an unknown fragment: validation reports it
        key = name, in_edges
        if key not in self._fragment_depths:
            self._visiting[name] = None
            self._fragment_depths[key] = self.measure(self._fragments[name].selection_set, in_edges)
            del self._visiting[name]
        return self._fragment_depths[key]


@define(eq=False, repr=False)
class _ComplexityVisitor(_SelectionVisitor):
    """Measures the complexity: how many objects the answer may hold."""

    _variables: Mapping[str, object]
    _fragment_sizes: dict[tuple[str, int], int] = Factory(dict)

    def measure(self, selections: SelectionSetNode, limit: int = 1) -> int:
        """`limit` is the argument of the field around `selections`: it may return as many `edges`."""
        with self._nested():
            return sum(self._measure_selection(node, limit) for node in selections.selections)

    def _measure_selection(self, node: SelectionNode, limit: int) -> int:
        if isinstance(node, FieldNode):
            return self._measure_field(node, limit)
        if isinstance(node, FragmentSpreadNode):
            return self._measure_spread(node.name.value, limit)
        assert isinstance(node, InlineFragmentNode)
        return self.measure(node.selection_set, limit)

    def _measure_field(self, node: FieldNode, limit: int) -> int:
        name = node.name.value
        if node.selection_set is None or name in INTROSPECTION_FIELDS:
            return 0
        times = {"edges": limit, "sessions": MAX_SESSIONS}.get(name, 1)
        return times * (1 + self.measure(node.selection_set, self._limit_argument(node)))

    def _measure_spread(self, name: str, limit: int) -> int:
        key = name, limit
        if key not in self._fragment_sizes:
            self._fragment_sizes[key] = self.measure(self._fragments[name].selection_set, limit)
        return self._fragment_sizes[key]

    def _limit_argument(self, node: FieldNode) -> int:
        """The argument `limit` of `node`; one out of bounds is refused when the field is resolved."""
        value: object = None
        for argument in node.arguments or ():
            if argument.name.value == "limit" and isinstance(argument.value, VariableNode):
                value = self._variables.get(argument.value.name.value)
            elif argument.name.value == "limit" and isinstance(argument.value, IntValueNode):
                value = int(argument.value.value)
        return min(max(value, 1), MAX_LIMIT) if isinstance(value, int) else DEFAULT_LIMIT
