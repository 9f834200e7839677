"""Resolves the root field of an operation that has only one before graphql-core executes it.

graphql-core would await the resolver in an asyncio task, and complete the answer
in another turn of the reactor, which costs more than most of our resolvers do.

With `compiled_selections`, a list of 50 costs 980 instead of 2,900 µs of CPU
(docs/decisions/022-graphql-plans.md).
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import frozen
from graphql import FieldNode
from graphql.execution import Executor, get_argument_values

from .compiled_selections import CompiledExecutor, PendingRelations
from .context import Context
from .prefetch import prefetch_relations

ROOT_EXTENSION = "multiproto.method"  # the extension of a root field that holds its `RootField`


@frozen(eq=False)
class RootField:
    """The parts of a root field's resolver."""

    authorize: Callable[[Context], None] | None  # raises if the caller may not use the field
    resolve: Callable[[Context, Mapping[str, Any]], Awaitable[Any]]


@frozen(eq=False)
class PrefetchedResult:
    value: Any = None
    error: Exception | None = None

    def unwrap(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


async def prefetch_root(executor: Executor[Any], context: Context) -> None:
    """Put the result of the only root field of a query or mutation, or its error, into `context`."""
    selections = executor.operation.selection_set.selections
    node = selections[0]
    if len(selections) != 1 or not isinstance(node, FieldNode) or node.directives:
        return
    root_type = executor.schema.get_root_type(executor.operation.operation)
    field = root_type.fields.get(node.name.value) if root_type is not None else None
    root: RootField | None = field.extensions.get(ROOT_EXTENSION) if field is not None else None
    if field is None or root is None:
        return
    try:
        args = get_argument_values(field, node, executor.variable_values)
        if root.authorize is not None:
            root.authorize(context)
    except Exception:
        return  # graphql-core gets the same error, and reports it at the right path
    try:
        value = await root.resolve(context, args)
    except Exception as error:
        context.prefetched_root = PrefetchedResult(error=error)
        return
    context.prefetched_root = PrefetchedResult(value)
    if isinstance(executor, CompiledExecutor):
        compiled = executor.compiler.compile(node, field.type, executor)
        if compiled is not None and compiled.collect_relations is not None:
            pending: PendingRelations = []
            compiled.collect_relations(value, pending)
            await prefetch_relations(context, pending)
            executor.prefetched = compiled
