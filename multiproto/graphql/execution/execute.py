"""Executes GraphQL operations, from the request to the response, for every transport: HTTP, event streams, sockets."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from attrs import Factory, define, field, frozen
from graphql import ExecutionResult, FieldNode
from graphql.execution import Executor, create_source_event_stream
from twisted.internet.interfaces import IReactorTime

from ...core.model import JsonObject
from .asyncio_loop import TwistedEventLoop
from .context import Caller, Context
from .dataloaders import OperationLoaders
from .document_cache import DocumentCache
from .errors import FormattedError, RequestError, format_error
from .introspection import IntrospectionCache
from .persisted_queries import PersistedQueries
from .request import GraphQLRequest
from .root_prefetch import prefetch_root
from .subscriptions import Payload, ResponseStream, SubscriptionSource

AUTHENTICATING_MUTATIONS = frozenset(("login", "refresh", "register"))

# type, name, status, seconds, codes of the errors; names are chosen by clients, so all count as "other"
OperationObserver = Callable[[str, str, str, float, Sequence[str]], None]


@frozen(eq=False)
class PreparedOperation:
    """A validated request, to be executed once."""

    kind: str  # query, mutation or subscription
    executor: Executor[Any] = field(repr=False)

    @property
    def only_authenticates(self) -> bool:
        """Whether it is made of logins, registrations and refreshes alone, which have limits of their own.

        One with a directive is none: `@skip` makes it nothing that any limit would count.
        """
        selections = self.executor.operation.selection_set.selections
        return self.kind == "mutation" and all(
            isinstance(each, FieldNode)
            and each.name.value in AUTHENTICATING_MUTATIONS
            and not each.directives
            for each in selections
        )


@define(eq=False, repr=False)
class OperationExecutor:
    _document_cache: DocumentCache
    _make_loaders: Callable[[], OperationLoaders]
    _asyncio_loop: TwistedEventLoop
    _clock: IReactorTime
    _on_operation: OperationObserver
    _persisted_queries: PersistedQueries = Factory(PersistedQueries)
    _introspection_cache: IntrospectionCache = Factory(IntrospectionCache)

    def prepare(self, request: GraphQLRequest) -> PreparedOperation:
        """Parse and validate `request`, and check its limits.  Raises `RequestError`; then nothing was executed."""
        started_at = self._clock.seconds()
        try:
            text = self._persisted_queries.resolve(request.query, request.persisted_hash)
            executor = self._document_cache.get_executor(
                text, request.operation_name, request.variables or {}
            )
        except RequestError as refusal:
            self._notify_observer("other", "rejected", started_at, refusal.errors)
            raise
        self._persisted_queries.store(request.persisted_hash, text)
        return PreparedOperation(executor.operation.operation.value, executor)

    async def execute(self, operation: PreparedOperation, caller: Caller) -> Payload:
        """The response to a query or mutation."""
        started_at = self._clock.seconds()
        known = self._introspection_cache.get(operation.executor)
        if known is not None:
            self._notify_observer(operation.kind, "success", started_at, [])
            return known
        executor, context = operation.executor, self._make_context(caller)
        executor.context_value = context
        await prefetch_root(executor, context)
        payload = _to_payload(await self._asyncio_loop.run(executor.execute_operation, caller.turn_key))
        if context.cursor is not None:
            payload["extensions"] = {"cursor": context.cursor}
        self._introspection_cache.put(executor, payload)
        errors = payload.get("errors", [])
        self._notify_observer(operation.kind, "error" if errors else "success", started_at, errors)
        return payload

    async def subscribe(self, operation: PreparedOperation, caller: Caller) -> ResponseStream:
        """Open a subscription.  Raises `RequestError`."""
        started_at = self._clock.seconds()
        executor = operation.executor
        executor.context_value = self._make_context(caller)
        source = await self._asyncio_loop.run(lambda: create_source_event_stream(executor), caller.turn_key)
        if not isinstance(source, SubscriptionSource):
            assert isinstance(source, ExecutionResult)
            errors = [format_error(error) for error in source.errors or ()]
            self._notify_observer(operation.kind, "error", started_at, errors)
            raise RequestError(errors)
        self._notify_observer(operation.kind, "success", started_at, [])

        async def execute(event: JsonObject) -> Payload:
            event_executor = executor.build_per_event_executor(event)
            event_executor.context_value = self._make_context(caller)
            execution = self._asyncio_loop.run(
                lambda: event_executor.execute_operation(False), caller.turn_key
            )
            return _to_payload(await execution)

        return ResponseStream(source, execute)

    def _make_context(self, caller: Caller) -> Context:
        return Context(caller, self._make_loaders())

    def _notify_observer(
        self, kind: str, status: str, started_at: float, errors: Sequence[FormattedError]
    ) -> None:
        codes = [error["extensions"]["code"] for error in errors]
        self._on_operation(kind, "other", status, self._clock.seconds() - started_at, codes)


def _to_payload(result: Any) -> Payload:
    """The response as JSON; `errors` come first, as the specification advises."""
    assert isinstance(result, ExecutionResult)
    errors = [format_error(error) for error in result.errors or ()]
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}
