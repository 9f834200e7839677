"""An operation from its request to its results, whatever carries it: HTTP, event stream or socket."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Sequence

from attrs import Factory, define, field, frozen
from graphql import ExecutionResult
from graphql.execution import Executor, create_source_event_stream
from twisted.internet.interfaces import IReactorTime

from ...core.model import JsonObject
from ...core.protocol import Farewell, Ping
from .asyncio_loop import TwistedEventLoop
from .context import Caller, Context
from .dataloaders import OperationLoaders
from .document_cache import DocumentCache
from .errors import FormattedError, RequestError, format_error
from .persisted_queries import PersistedQueries
from .request import GraphQLRequest
from .root_prefetch import prefetch_root
from .subscription_source import SourceStream

Payload = dict[str, Any]  # a result, JSON-ready: data, errors, extensions

# type, name, status, seconds, codes of the errors; names are a client's words, so all count as "other"
OperationObserver = Callable[[str, str, str, float, Sequence[str]], None]


@frozen(eq=False)
class PreparedOperation:
    """A request found good, to be executed once."""

    kind: str  # query, mutation or subscription
    executor: Executor[Any] = field(repr=False)


@define(eq=False, repr=False)
class ResponseStream:
    """The results of one subscription, for one reader, who must `close` in the end."""

    _source: SourceStream
    _execute: Callable[[JsonObject], Awaitable[Payload]]
    _is_first: bool = True

    async def next(self) -> Payload | Ping | None:
        """The next result; `Ping` when all is quiet, `None` at the end: see `farewell`."""
        heard = await self._source.next()
        if heard is None or isinstance(heard, Ping):
            return heard
        told, delivery = heard
        payload = await self._execute(told)
        extensions: Payload = {}
        if delivery.cursor is not None:
            extensions["cursor"] = delivery.cursor
        recovered = self._source.subscription.subscribed.recovered
        if self._is_first and recovered is not None:
            extensions["recovered"] = recovered
        self._is_first = False
        return payload | {"extensions": extensions} if extensions else payload

    @property
    def farewell(self) -> Farewell | None:
        """Why there will be no more, once it has ended."""
        return self._source.subscription.farewell

    def close(self) -> None:
        """Nothing of the subscription is left."""
        self._source.close()


@define(eq=False, repr=False)
class OperationExecutor:
    _document_cache: DocumentCache
    _make_loaders: Callable[[], OperationLoaders]
    _asyncio_loop: TwistedEventLoop
    _clock: IReactorTime
    _on_operation: OperationObserver
    _fast: bool = True
    _persisted_queries: PersistedQueries = Factory(PersistedQueries)

    def prepare(self, request: GraphQLRequest) -> PreparedOperation:
        """Parse, validate and weigh.  Raises `RequestError`; nothing was executed then."""
        began = self._clock.seconds()
        try:
            text = self._persisted_queries.resolve(request.query, request.persisted_hash)
            executor = self._document_cache.get_executor(
                text, request.operation_name, request.variables or {}
            )
        except RequestError as refusal:
            self._notify_observer("other", "rejected", began, refusal.errors)
            raise
        self._persisted_queries.store(request.persisted_hash, text)
        return PreparedOperation(executor.operation.operation.value, executor)

    async def execute(self, operation: PreparedOperation, caller: Caller) -> Payload:
        """The result of a query or mutation."""
        began = self._clock.seconds()
        executor, context = operation.executor, self._make_context(caller)
        executor.context_value = context
        if self._fast:
            await prefetch_root(executor, context)
        payload = _to_payload(await self._asyncio_loop.run(executor.execute_operation))
        if context.cursor is not None:
            payload["extensions"] = {"cursor": context.cursor}
        errors = payload.get("errors", [])
        self._notify_observer(operation.kind, "error" if errors else "success", began, errors)
        return payload

    async def subscribe(self, operation: PreparedOperation, caller: Caller) -> ResponseStream:
        """Open a subscription.  Raises `RequestError`."""
        began = self._clock.seconds()
        executor = operation.executor
        executor.context_value = self._make_context(caller)
        source = await self._asyncio_loop.run(lambda: create_source_event_stream(executor))
        if not isinstance(source, SourceStream):
            assert isinstance(source, ExecutionResult)
            errors = [format_error(error) for error in source.errors or ()]
            self._notify_observer(operation.kind, "error", began, errors)
            raise RequestError(errors)
        self._notify_observer(operation.kind, "success", began, [])

        async def execute(told: JsonObject) -> Payload:
            event = executor.build_per_event_executor(told)
            event.context_value = self._make_context(caller)
            return _to_payload(await self._asyncio_loop.run(lambda: event.execute_operation(False)))

        return ResponseStream(source, execute)

    def _make_context(self, caller: Caller) -> Context:
        return Context(caller, self._make_loaders())

    def _notify_observer(
        self, kind: str, status: str, began: float, errors: Sequence[FormattedError]
    ) -> None:
        codes = [error["extensions"]["code"] for error in errors]
        self._on_operation(kind, "other", status, self._clock.seconds() - began, codes)


def _to_payload(result: Any) -> Payload:
    """`errors` first, as the specification advises."""
    assert isinstance(result, ExecutionResult)
    errors = [format_error(error) for error in result.errors or ()]
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}
