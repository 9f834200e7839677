"""The shared store: one PostgreSQL for many instances, with the domain's rows and the log.

Everything is driven by the reactor, but for `open`, before anybody is served.
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any, Callable, Coroutine, Mapping, Sequence

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from ...core.errors import Unavailable
from ...core.ports import Entry, Page, Query, Snapshot, Unit
from ..errors import Unusable
from ..jobs import Answers, Job, Observed
from ..statements import load, sql_directory
from . import reads, writer
from .dial import Away, Dialer
from .faults import explained
from .line import Failed, Lost
from .log import Log
from .migrate import migrate
from .reads import Reads
from .statements import prepared
from .writer import Writer

CHECK = 0.2  # seconds between looks at the clock


@frozen
class _Open:
    """What there is between the start and the end."""

    log: Log
    reads: Reads
    writer: Writer
    checks: LoopingCall


@define(eq=False, repr=False)
class PostgresStore(Service):
    """`Store` and `Log` on PostgreSQL.

    `open` may be called before `startService`, which otherwise calls it.  Both
    fail with `Unusable`, one line for the operator.
    """

    _conninfo: str  # as libpq takes it; has a password
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _observed: Observed
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _least: int = 2  # connections that are kept
    _most: int = 20  # connections in all
    _durable: bool = True  # refuse a server that does not sync
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _read_patience: float = 5.0  # seconds until the server breaks a read off; a second later the line is cut
    _room: int = 10_000  # units, and reads, that may wait; one more is refused
    _batch: int = 400  # units in one transaction; beyond that a sync is shared by enough
    _wakers: list[Callable[[], object]] = field(factory=list, init=False)
    _migrated: bool = field(default=False, init=False)
    _opened: _Open | None = field(default=None, init=False)
    _answers: Answers = field(init=False)

    # The service.

    def open(self) -> None:
        """Check the server, and migrate.  Blocks."""
        if not self._migrated:
            sql = sql_directory("postgresql")
            migrate(self._conninfo, sql, load(sql / "queries"), self._reactor.seconds(), self._durable)
            self._migrated = True

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.open()

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires when all that was asked is answered and no connection is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    # The ports.

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        return self._ask(lambda log: log.snapshot(queries))

    def commit(self, unit: Unit) -> Deferred[str]:
        job = Job("write", unit, self._reactor.seconds())
        try:
            self._running.writer.give(job)
        except Unavailable as refusal:
            self._answers.give(job, refusal)
        return job.answer

    def head(self) -> Deferred[tuple[int, str]]:
        return self._ask(Log.head)

    def after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        return self._ask(lambda log: log.after(position, limit))

    def page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._ask(lambda log: log.page(lead, low, high))

    def floors(self) -> Deferred[Mapping[str, int]]:
        return self._ask(Log.floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Asks the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._opened is not None:
            log = self._opened.log
            position = log.terms.position(cursor)
            if position is not None and position <= log.newest:
                return succeed(position)
        return self._ask(lambda log: log.locate(cursor))

    def cursor_of(self, position: int) -> str:
        """The name of a `position` that was read from this store."""
        return self._running.log.terms.cursor(position)

    def on_commit(self, waker: Callable[[], object]) -> None:
        """Call `waker` whenever the log has grown, here or by another instance."""
        self._wakers.append(waker)

    @property
    def newest(self) -> int:
        """Position of the log's head, as far as it was seen."""
        return self._opened.log.newest if self._opened else 0

    @property
    def connections(self) -> int:
        """How many are open to the database."""
        return self._opened.reads.connections + self._opened.writer.connections if self._opened else 0

    @property
    def waiting(self) -> dict[str, int]:
        """How many wait for their turn, by operation."""
        opened = self._opened
        return {"read": len(opened.reads), "write": len(opened.writer)} if opened else {}

    # Behind them.

    @_answers.default
    def _make_answers(self) -> Answers:
        return Answers(self._reactor, self._observed)

    @property
    def _running(self) -> _Open:
        if self._opened is None:
            raise Unavailable("The database is not open")
        return self._opened

    def _ask(self, what: Callable[[Log], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        job: Job[None] = Job("read", None, self._reactor.seconds())

        async def doing() -> None:
            try:
                outcome = await what(self._running.log)
            except Exception as error:  # is logged, or answered, where it was asked for
                outcome = explained(error)
            self._answers.give(job, outcome)

        Deferred.fromCoroutine(doing())
        return job.answer

    def _wake(self) -> None:
        for waker in self._wakers:
            waker()

    async def _start(self) -> None:
        self.open()
        opened = self._wire()
        try:
            await opened.reads.start()
            await opened.writer.start()
        except (Away, Failed, Lost, Unavailable) as error:
            await opened.writer.stop()
            await opened.reads.stop()
            raise Unusable(f"PostgreSQL can't be used: {error}") from error
        opened.checks.start(CHECK, now=False)
        self._opened = opened

    def _wire(self) -> _Open:
        """All that lives between start and stop; nothing is begun."""
        statements = prepared(load(sql_directory("postgresql") / "queries"))

        def dialer(settings: Sequence[bytes], patience: float) -> Dialer:
            known = list(statements.values())
            return Dialer(self._conninfo, self._reactor, known, settings, patience, self._wake)

        reading = Reads(
            dialer(reads.settings(self._read_patience), self._read_patience + 1),
            self._reactor,
            max(1, self._least - 1),
            max(1, self._most - 1),
            self._room,
        )
        log = Log(reading, statements)
        writing = Writer(
            dialer(writer.SETTINGS, writer.PATIENCE),
            self._reactor,
            statements,
            self._answers,
            log,
            self._room,
            self._batch,
            self._wake,
            self._new_term,
            self._namespaces,
        )

        def check() -> None:
            reading.check()
            writing.check()

        checks = LoopingCall(check)
        checks.clock = self._reactor
        return _Open(log, reading, writing, checks)

    async def _stop(self) -> None:
        opened, self._opened = self._opened, None  # from here on everything is refused
        if opened is not None:
            await opened.writer.stop()
            await opened.reads.stop()
            opened.checks.stop()
