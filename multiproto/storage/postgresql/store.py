"""The shared store: one PostgreSQL for many instances, with the domain's rows and the log.

The reactor drives everything but `open`, which blocks before anybody is served.
"""

from __future__ import annotations

import secrets
from functools import partial
from time import time
from typing import Any, Callable, Coroutine, Mapping, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from ...core.errors import Unavailable
from ...core.transactions import Entry, Page, Query, Snapshot, Unit
from ..errors import StoreUnusable
from ..jobs import MAX_BATCH, Job, JobCompletion, OnJobCompleted
from ..service import StoreService
from ..statements import load_statements, sql_directory
from .connector import PostgresConnector
from .errors import DatabaseConnectionLost, DatabaseUnreachable, StatementFailed, to_refusal
from .migrate import migrate
from .read_queue import PostgresReadQueue, read_session_settings
from .reader import PostgresReader
from .statements import to_prepared_statements
from .writer import WRITE_TIMEOUT, PostgresWriter, writer_session_settings

TIMEOUT_CHECK_INTERVAL = 0.2  # seconds between two checks


ReadWork = Callable[[PostgresReader], Coroutine[Any, Any, Any]]


@frozen
class _PostgresResources:
    """All that exists between the end of `startService` and the end of `stopService`."""

    reader: PostgresReader
    read_queue: PostgresReadQueue
    writer: PostgresWriter
    timeout_checks: LoopingCall


@define(eq=False, repr=False)
class PostgresStore(StoreService):
    """A `LogStore` on PostgreSQL, which many instances share."""

    _conninfo: str  # for libpq; may hold a password
    _reactor: Any  # IReactorFDSet, IReactorTime, IReactorThreads
    _on_job_completed: OnJobCompleted
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _min_connections: int = 2  # connections that are kept open
    _max_connections: int = 20  # connections in all
    _require_fsync: bool = True  # refuse a server that does not sync
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _read_timeout: float = 5.0  # seconds until the server breaks a read off; a second later the line is cut
    _max_waiting: int = 10_000  # units, and reads, that may wait; one more is refused
    _max_batch: int = MAX_BATCH
    _now: Callable[[], float] = time  # seconds since the epoch
    _schema: str | None = field(default=None, init=False)  # of the tables, once they are migrated
    _resources: _PostgresResources | None = field(default=None, init=False)
    _completion: JobCompletion = field(init=False)

    # The service.

    def open(self) -> None:
        """Check the server and apply pending migrations.  Blocks."""
        if self._schema is None:
            sql = sql_directory("postgresql")
            self._schema = migrate(
                self._conninfo,
                sql,
                load_statements(sql / "queries"),
                self._now(),
                self._require_fsync,
            )

    def startService(self) -> Deferred[None]:
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Fires when all reads and writes are answered and all connections closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    # The ports.

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        return self._read(lambda reader: reader.snapshot(queries))

    def commit(self, unit: Unit) -> Deferred[str]:
        job = Job("write", unit, self._reactor.seconds(), unit.owner)
        try:
            self._open_resources.writer.enqueue(job)
        except Unavailable as refusal:
            self._completion.complete(job, refusal)
        return job.result

    def head(self) -> Deferred[tuple[int, str]]:
        return self._read(PostgresReader.head)

    def read_after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        return self._read(lambda reader: reader.read_after(position, limit))

    def read_page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._read(lambda reader: reader.read_page(lead, low, high))

    def retention_floors(self) -> Deferred[Mapping[str, int]]:
        return self._read(PostgresReader.retention_floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Reads the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._resources is not None:
            reader = self._resources.reader
            position = reader.terms.position_of(cursor)
            if (
                position is not None and position <= reader.newest
            ):  # else another instance may have begun its term
                return succeed(position)
        return self._read(lambda reader: reader.locate(cursor))

    def check_writes(self) -> None:
        self._completion.write_health.check()

    @property
    def damage_warning(self) -> str | None:
        return self._completion.damage.warning

    def cursor_of(self, position: int) -> str:
        return self._open_resources.reader.terms.cursor_of(position)

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        return self._open_resources.reader.terms.cursors_of(positions)

    @property
    def newest(self) -> int:
        return self._resources.reader.newest if self._resources else 0

    @property
    def connections(self) -> int:
        return (
            self._resources.read_queue.connections + self._resources.writer.connections
            if self._resources
            else 0
        )

    @property
    def waiting(self) -> dict[str, int]:
        opened = self._resources
        return {"read": len(opened.read_queue), "write": len(opened.writer)} if opened else {}

    # Internals.

    @_completion.default
    def _make_completion(self) -> JobCompletion:
        return JobCompletion(self._reactor, self._on_job_completed)

    @property
    def _open_resources(self) -> _PostgresResources:
        if self._resources is None:
            raise Unavailable("The database is not open")
        return self._resources

    def _read(self, work: ReadWork) -> Deferred[Any]:
        job = Job("read", work, self._reactor.seconds())
        Deferred.fromCoroutine(self._run_read(job))
        return job.result

    async def _run_read(self, job: Job[ReadWork]) -> None:
        try:
            outcome = await job.work(self._open_resources.reader)
        except Exception as error:  # `complete` logs what is no refusal
            outcome = to_refusal(error)
        self._completion.complete(job, outcome)

    async def _start(self) -> None:
        self.open()
        assert self._schema is not None, "`open` finds it"
        opened = self._build_resources(self._schema)
        try:
            await opened.read_queue.start()
            await opened.writer.start()
        except (DatabaseUnreachable, StatementFailed, DatabaseConnectionLost, Unavailable) as error:
            await opened.writer.stop()
            await opened.read_queue.stop()
            raise StoreUnusable(f"PostgreSQL can't be used: {error}") from error
        opened.timeout_checks.start(TIMEOUT_CHECK_INTERVAL, now=False)
        self._resources = opened

    def _build_resources(self, schema: str) -> _PostgresResources:
        """The parts, not yet connected to the database."""
        statements = to_prepared_statements(load_statements(sql_directory("postgresql") / "queries"))

        def connector(settings: Sequence[bytes], answer_timeout: float) -> PostgresConnector:
            return PostgresConnector(
                self._conninfo,
                self._reactor,
                list(statements.values()),
                settings,
                answer_timeout,
                self._notify_commit,
            )

        read_queue = PostgresReadQueue(
            connector(read_session_settings(self._read_timeout, schema), self._read_timeout + 1),
            self._reactor,
            max(1, self._min_connections - 1),
            max(1, self._max_connections - 1),
            self._max_waiting,
        )
        reader = PostgresReader(read_queue, statements, self._reactor)
        writer = PostgresWriter(
            connector(writer_session_settings(schema), WRITE_TIMEOUT),
            self._reactor,
            self._now,
            statements,
            self._completion,
            reader,
            self._max_waiting,
            self._max_batch,
            self._notify_commit,
            self._notify_parted,
            self._new_term,
            self._namespaces,
        )
        reader.settle_history = writer.settle_history

        def check() -> None:
            read_queue.check_timeouts()
            writer.check_timeouts()

        checks = LoopingCall(check)
        checks.clock = self._reactor
        return _PostgresResources(reader, read_queue, writer, checks)

    async def _stop(self) -> None:
        opened, self._resources = self._resources, None  # from here on everything is refused
        if opened is not None:
            await opened.writer.stop()
            await opened.read_queue.stop()
            opened.timeout_checks.stop()
