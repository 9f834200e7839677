"""An asyncio event loop on a Twisted reactor, for graphql-core: the one file that knows asyncio.

graphql-core runs parallel fields as asyncio tasks.  All they need of an event
loop is to schedule callbacks, which an `IReactorTime` does as well: so this works
on every reactor and on a bare `task.Clock`, also beside a loop that is running
already (`--reactor=asyncio`).  `Deferred.fromFuture` and `Deferred.asFuture`
convert between the two.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, Handle, Task, TimerHandle, events
from collections import defaultdict, deque
from contextlib import contextmanager
from contextvars import Context, ContextVar
from inspect import isawaitable
from typing import (
    Any,
    Awaitable,
    Callable,
    Coroutine,
    Deque,
    Generator,
    Iterator,
    TypeVar,
    TypeVarTuple,
    Unpack,
)

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# Whose time a callback takes: tasks that a task creates have its context.
_OWNER: ContextVar[str] = ContextVar("_OWNER", default="")


class TwistedEventLoop(AbstractEventLoop):
    """An asyncio event loop that only schedules callbacks; sockets, threads and signals are the reactor's."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, on_work: Callable[[str, float], object]) -> None:
        self._clock = clock
        self._on_work = on_work
        self._ready: Deque[tuple[Handle, str]] = deque()  # with their owners
        self._run_scheduled = False

    # Called from Twisted's side.

    @classmethod
    def for_clock(
        cls, clock: IReactorTime, on_work: Callable[[str, float], object] = lambda owner, seconds: None
    ) -> TwistedEventLoop:
        """A loop on `clock`; mypy takes the class itself for abstract.

        `on_work` is called with the owner of callbacks and the seconds that they took in a turn.
        """
        return cls(clock, on_work)

    def run(self, work: Callable[[], Awaitable[T] | T], owner: str = "") -> Deferred[T]:
        """Call `work` with this loop as the running one, and wait for its result.

        What follows a wait takes the time of `owner`, and so does what is done with the result after one.
        """
        outer = _OWNER.set(owner)
        try:
            with self._as_running_loop():
                result = work()
                if not isawaitable(result):
                    return succeed(result)
                return Deferred.fromFuture(self.create_task(_as_coroutine(result)))
        finally:
            _OWNER.reset(outer)

    def result_or_future(self, coroutine: Coroutine[Deferred[Any], Any, T]) -> T | Future[T]:
        """Run `coroutine`, which awaits Deferreds: its result if it has one at once, else a future."""
        deferred = Deferred.fromCoroutine(coroutine)
        done: list[T] = []
        deferred.addCallback(done.append)
        if done:
            return done[0]
        return deferred.addCallback(lambda _: done[0]).asFuture(self)

    # Called by asyncio.

    def time(self) -> float:
        return self._clock.seconds()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: Unpack[Ts], context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, self, context)
        self._ready.append((handle, _OWNER.get() if context is None else context.get(_OWNER, "")))
        self._schedule_run()
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: Unpack[Ts],
        context: Context | None = None,
    ) -> TimerHandle:
        handle = TimerHandle(when, callback, args, self, context)
        self._clock.callLater(max(0.0, when - self.time()), self._run_handle, handle)
        return handle

    def create_future(self) -> Future[Any]:
        return Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
        **options: Any,
    ) -> Task[T]:
        return Task(coro, loop=self, name=name, context=context, **options)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return events._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._log.warn("{message}: {exception!r}", **{"exception": None, **context})

    def _timer_handle_cancelled(self, handle: TimerHandle) -> None:
        """`_run_handle` skips it."""

    def _schedule_run(self) -> None:
        if self._ready and not self._run_scheduled:
            self._run_scheduled = True
            self._clock.callLater(0, self._run_ready)

    def _run_ready(self) -> None:
        """Call what is ready, in one piece: loaders ask for all that their operations need together."""
        self._run_scheduled = False
        took: dict[str, float] = defaultdict(float)
        now = self._clock.seconds()
        with self._as_running_loop():
            for _ in range(len(self._ready)):
                handle, owner = self._ready.popleft()
                started = now
                if not handle.cancelled():
                    handle._run()
                now = self._clock.seconds()
                took[owner] += now - started
        self._schedule_run()
        for owner, seconds in took.items():
            self._on_work(owner, seconds)

    def _run_handle(self, handle: Handle) -> None:
        if not handle.cancelled():
            with self._as_running_loop():
                handle._run()

    @contextmanager
    def _as_running_loop(self) -> Iterator[None]:
        outer = events._get_running_loop()
        events._set_running_loop(self)
        try:
            yield
        finally:
            events._set_running_loop(outer)


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable
