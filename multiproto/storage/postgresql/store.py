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
from ...core.transactions import Entry, Page, Query, Snapshot, Unit
from ..errors import StoreUnusable
from ..jobs import Job, JobCompletion, OnJobCompleted
from ..statements import load_statements, sql_directory
from .connector import PostgresConnector
from .errors import DatabaseConnectionLost, DatabaseUnreachable, StatementFailed, to_refusal
from .migrate import migrate
from .read_queue import PostgresReadQueue, read_session_settings
from .reader import PostgresReader
from .statements import to_prepared_statements
from .writer import WRITE_TIMEOUT, WRITER_SESSION_SETTINGS, PostgresWriter

TIMEOUT_CHECK_INTERVAL = 0.2  # seconds between looks at the clock


@frozen
class _PostgresResources:
    """What there is between the start and the end."""

    reader: PostgresReader
    read_queue: PostgresReadQueue
    writer: PostgresWriter
    timeout_checks: LoopingCall


@define(eq=False, repr=False)
class PostgresStore(Service):
    """`Store` and `PostgresReader` on PostgreSQL.

    `open` may be called before `startService`, which otherwise calls it.  Both
    fail with `StoreUnusable`, one line for the operator.
    """

    _conninfo: str  # as libpq takes it; has a password
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _on_job_completed: OnJobCompleted
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _min_connections: int = 2  # connections that are kept
    _max_connections: int = 20  # connections in all
    _require_fsync: bool = True  # refuse a server that does not sync
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _read_timeout: float = 5.0  # seconds until the server breaks a read off; a second later the line is cut
    _max_waiting: int = 10_000  # units, and reads, that may wait; one more is refused
    _max_batch: int = 400  # units in one transaction; beyond that a sync is shared by enough
    _commit_listeners: list[Callable[[], object]] = field(factory=list, init=False)
    _migrated: bool = field(default=False, init=False)
    _resources: _PostgresResources | None = field(default=None, init=False)
    _completion: JobCompletion = field(init=False)

    # The service.

    def open(self) -> None:
        """Check the server, and migrate.  Blocks."""
        if not self._migrated:
            sql = sql_directory("postgresql")
            migrate(
                self._conninfo,
                sql,
                load_statements(sql / "queries"),
                self._reactor.seconds(),
                self._require_fsync,
            )
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
        return self._read(lambda log: log.snapshot(queries))

    def commit(self, unit: Unit) -> Deferred[str]:
        job = Job("write", unit, self._reactor.seconds())
        try:
            self._open_resources.writer.enqueue(job)
        except Unavailable as refusal:
            self._completion.complete(job, refusal)
        return job.result

    def head(self) -> Deferred[tuple[int, str]]:
        return self._read(PostgresReader.head)

    def read_after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        return self._read(lambda log: log.read_after(position, limit))

    def read_page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._read(lambda log: log.read_page(lead, low, high))

    def retention_floors(self) -> Deferred[Mapping[str, int]]:
        return self._read(PostgresReader.retention_floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Asks the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._resources is not None:
            log = self._resources.reader
            position = log.terms.position_of(cursor)
            if position is not None and position <= log.newest:
                return succeed(position)
        return self._read(lambda log: log.locate(cursor))

    def cursor_of(self, position: int) -> str:
        """The name of a `position` that was read from this store."""
        return self._open_resources.reader.terms.cursor_of(position)

    def on_commit(self, waker: Callable[[], object]) -> None:
        """Call `waker` whenever the log has grown, here or by another instance."""
        self._commit_listeners.append(waker)

    @property
    def newest(self) -> int:
        """Position of the log's head, as far as it was seen."""
        return self._resources.reader.newest if self._resources else 0

    @property
    def connections(self) -> int:
        """How many are open to the database."""
        return (
            self._resources.read_queue.connections + self._resources.writer.connections
            if self._resources
            else 0
        )

    @property
    def waiting(self) -> dict[str, int]:
        """How many wait for their turn, by operation."""
        opened = self._resources
        return {"read": len(opened.read_queue), "write": len(opened.writer)} if opened else {}

    # Behind them.

    @_completion.default
    def _make_completion(self) -> JobCompletion:
        return JobCompletion(self._reactor, self._on_job_completed)

    @property
    def _open_resources(self) -> _PostgresResources:
        if self._resources is None:
            raise Unavailable("The database is not open")
        return self._resources

    def _read(self, what: Callable[[PostgresReader], Coroutine[Any, Any, Any]]) -> Deferred[Any]:
        job: Job[None] = Job("read", None, self._reactor.seconds())

        async def doing() -> None:
            try:
                outcome = await what(self._open_resources.reader)
            except Exception as error:  # is logged, or answered, where it was asked for
                outcome = to_refusal(error)
            self._completion.complete(job, outcome)

        Deferred.fromCoroutine(doing())
        return job.result

    def _notify_commit(self) -> None:
        for waker in self._commit_listeners:
            waker()

    async def _start(self) -> None:
        self.open()
        opened = self._build_resources()
        try:
            await opened.read_queue.start()
            await opened.writer.start()
        except (DatabaseUnreachable, StatementFailed, DatabaseConnectionLost, Unavailable) as error:
            await opened.writer.stop()
            await opened.read_queue.stop()
            raise StoreUnusable(f"PostgreSQL can't be used: {error}") from error
        opened.timeout_checks.start(TIMEOUT_CHECK_INTERVAL, now=False)
        self._resources = opened

    def _build_resources(self) -> _PostgresResources:
        """All that lives between start and stop; nothing is begun."""
        statements = to_prepared_statements(load_statements(sql_directory("postgresql") / "queries"))

        def dialer(settings: Sequence[bytes], patience: float) -> PostgresConnector:
            known = list(statements.values())
            return PostgresConnector(
                self._conninfo, self._reactor, known, settings, patience, self._notify_commit
            )

        reading = PostgresReadQueue(
            dialer(read_session_settings(self._read_timeout), self._read_timeout + 1),
            self._reactor,
            max(1, self._min_connections - 1),
            max(1, self._max_connections - 1),
            self._max_waiting,
        )
        log = PostgresReader(reading, statements)
        writing = PostgresWriter(
            dialer(WRITER_SESSION_SETTINGS, WRITE_TIMEOUT),
            self._reactor,
            statements,
            self._completion,
            log,
            self._max_waiting,
            self._max_batch,
            self._notify_commit,
            self._new_term,
            self._namespaces,
        )

        def check() -> None:
            reading.check_timeouts()
            writing.check_timeouts()

        checks = LoopingCall(check)
        checks.clock = self._reactor
        return _PostgresResources(log, reading, writing, checks)

    async def _stop(self) -> None:
        opened, self._resources = self._resources, None  # from here on everything is refused
        if opened is not None:
            await opened.writer.stop()
            await opened.read_queue.stop()
            opened.timeout_checks.stop()
