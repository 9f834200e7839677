"""An operation from its request to its results, whatever carries it: HTTP, event stream or socket."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping, Sequence

from attrs import Factory, define, field, frozen
from graphql import ExecutionResult
from graphql.execution import Executor, create_source_event_stream
from twisted.internet.interfaces import IReactorTime

from ..core.model import Public
from ..core.wire import Farewell, Ping
from .ahead import go_ahead
from .context import Caller, Context
from .documents import Documents
from .faults import Declined, Formatted, formatted
from .loaders import Loaders
from .loop import ClockLoop
from .persisted import Persisted
from .source import Source

Payload = dict[str, Any]  # a result, JSON-ready: data, errors, extensions

# type, name, status, seconds, codes of the errors; names are a client's words, so all count as "other"
Observed = Callable[[str, str, str, float, Sequence[str]], None]


@frozen
class Request:
    """GraphQL over HTTP, "Request parameters"."""

    query: str = field(repr=False)  # a password may be written into it
    operation_name: str | None = None
    variables: Mapping[str, Any] | None = field(default=None, repr=False)
    persisted: str | None = None  # the SHA-256 of the query, which may then be empty


@frozen(eq=False)
class Operation:
    """A request found good, to be executed once."""

    kind: str  # query, mutation or subscription
    executor: Executor[Any] = field(repr=False)


@define(eq=False, repr=False)
class Stream:
    """The results of one subscription, for one reader, who must `leave` in the end."""

    _source: Source
    _execute: Callable[[Public], Awaitable[Payload]]
    _first: bool = True

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
        recovered = self._source.feed.subscribed.recovered
        if self._first and recovered is not None:
            extensions["recovered"] = recovered
        self._first = False
        return payload | {"extensions": extensions} if extensions else payload

    @property
    def farewell(self) -> Farewell | None:
        """Why there will be no more, once it has ended."""
        return self._source.feed.farewell

    def leave(self) -> None:
        """Nothing of the subscription is left."""
        self._source.leave()


@define(eq=False, repr=False)
class Operations:
    _documents: Documents
    _make_loaders: Callable[[], Loaders]
    _loop: ClockLoop
    _clock: IReactorTime
    _observed: Observed
    _fast: bool = True
    _persisted: Persisted = Factory(Persisted)

    def prepare(self, request: Request) -> Operation:
        """Parse, validate and weigh.  Raises `Declined`; nothing was executed then."""
        began = self._clock.seconds()
        try:
            text = self._persisted.text(request.query, request.persisted)
            executor = self._documents.executor(text, request.operation_name, request.variables or {})
        except Declined as refusal:
            self._observe("other", "rejected", began, refusal.errors)
            raise
        self._persisted.keep(request.persisted, text)
        return Operation(executor.operation.operation.value, executor)

    async def run(self, operation: Operation, caller: Caller) -> Payload:
        """The result of a query or mutation."""
        began = self._clock.seconds()
        executor, context = operation.executor, self._context(caller)
        executor.context_value = context
        if self._fast:
            await go_ahead(executor, context)
        payload = _payload(await self._loop.run(executor.execute_operation))
        if context.cursor is not None:
            payload["extensions"] = {"cursor": context.cursor}
        errors = payload.get("errors", [])
        self._observe(operation.kind, "error" if errors else "success", began, errors)
        return payload

    async def subscribe(self, operation: Operation, caller: Caller) -> Stream:
        """Open a subscription.  Raises `Declined`."""
        began = self._clock.seconds()
        executor = operation.executor
        executor.context_value = self._context(caller)
        source = await self._loop.run(lambda: create_source_event_stream(executor))
        if not isinstance(source, Source):
            assert isinstance(source, ExecutionResult)
            errors = [formatted(error) for error in source.errors or ()]
            self._observe(operation.kind, "error", began, errors)
            raise Declined(errors)
        self._observe(operation.kind, "success", began, [])

        async def execute(told: Public) -> Payload:
            event = executor.build_per_event_executor(told)
            event.context_value = self._context(caller)
            return _payload(await self._loop.run(lambda: event.execute_operation(False)))

        return Stream(source, execute)

    def _context(self, caller: Caller) -> Context:
        return Context(caller, self._make_loaders())

    def _observe(self, kind: str, status: str, began: float, errors: Sequence[Formatted]) -> None:
        codes = [error["extensions"]["code"] for error in errors]
        self._observed(kind, "other", status, self._clock.seconds() - began, codes)


def _payload(result: Any) -> Payload:
    """`errors` first, as the specification advises."""
    assert isinstance(result, ExecutionResult)
    errors = [formatted(error) for error in result.errors or ()]
    return {"errors": errors, "data": result.data} if errors else {"data": result.data}
