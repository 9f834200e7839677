"""Remembers the answers to introspection: they are the same for everybody, and cost thirty times a query."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from graphql import FieldNode, OperationDefinitionNode
from graphql.execution import Executor

from ...base.bounded_map import BoundedMap
from .subscriptions import Payload

MAX_ANSWERS = 8  # documents; each answer may have a hundred kilobytes
ROOT_FIELDS = frozenset(("__schema", "__type", "__typename"))


@define(eq=False, repr=False)
class IntrospectionCache:
    """Holds the answers to the last operations that ask for the schema alone, without variables."""

    # By the identity of the operation's node, which the cache of documents keeps: to hash a node takes long.
    _answers: BoundedMap[int, tuple[OperationDefinitionNode, Payload]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._answers = BoundedMap(MAX_ANSWERS)

    def get(self, executor: Executor[Any]) -> Payload | None:
        node = executor.operation
        node_and_payload = self._answers.get(id(node))
        if node_and_payload is None or node_and_payload[0] is not node:
            return None
        return node_and_payload[1]

    def put(self, executor: Executor[Any], payload: Payload) -> None:
        """Keep `payload` if the operation asks for the schema alone."""
        if "errors" not in payload and _is_the_same_for_all(executor.operation):
            self._answers.put(id(executor.operation), (executor.operation, payload))


def _is_the_same_for_all(operation: OperationDefinitionNode) -> bool:
    return not operation.variable_definitions and all(
        isinstance(node, FieldNode) and node.name.value in ROOT_FIELDS
        for node in operation.selection_set.selections
    )
