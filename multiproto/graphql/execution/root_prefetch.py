"""A short way for operations with one root field: what it gives is awaited before graphql-core asks for it.

graphql-core would await it in an asyncio task, and complete the answer in
another turn of the reactor, which costs more than most of our resolvers do.

Bought, with `plans`, in CPU of a list of 50: 2,900 to 980 µs
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
    """What is behind the resolver of a root field."""

    authorize: Callable[[Context], None] | None  # raises what keeps a caller out
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
    """Leave in `context` what the only root field of a query or mutation gives, or raises."""
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
        return  # graphql-core finds the same, and says so where it belongs
    try:
        value = await root.resolve(context, args)
    except Exception as error:
        context.prefetched_root = PrefetchedResult(error=error)
        return
    context.prefetched_root = PrefetchedResult(value)
    if isinstance(executor, CompiledExecutor):
        plan = executor.compiler.compile(node, field.type, executor)
        if plan is not None and plan.collect_relations is not None:
            wanted: PendingRelations = []
            plan.collect_relations(value, wanted)
            await prefetch_relations(context, wanted)
            executor.prefetched = plan
