"""The embedded store: one SQLite file with the domain's rows and the log, in a directory that is ours.

One thread writes, a few read.  The reactor thread queues work and takes
answers, and reads what is found by a key (`inline_reader`); it waits for no lock and no
sync, except in `open`, before anybody is served.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import thread_time
from typing import Any, Callable, Mapping, Sequence

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from ...core.errors import Unavailable
from ...core.transactions import Entry, Page, Query, Snapshot, Unit
from ..cursors import Terms
from ..jobs import Job, JobCompletion, OnJobCompleted
from ..migrations import load_migrations
from ..statements import load_statements, sql_directory
from .connection import connect, connect_reader
from .data_directory import DataDirectory
from .errors import translate_sqlite_errors
from .inline_reader import InlineReader
from .migrate import migrate
from .reader import ReadWork, SqliteReader
from .recent_entries import RecentEntries
from .threads import WorkerThreads
from .writer import SqliteWriter, TransactionResult, begin_term

DATABASE_FILE = "multiproto.db"  # in the data directory


@frozen
class _SqliteResources:
    """What there is between `open` and the end of `stopService`."""

    directory: DataDirectory
    terms: Terms
    threads: Mapping[str, WorkerThreads[Job[Any]]]  # operation -> who does it
    inline_reader: InlineReader | None  # who reads in the reactor's thread
    recent_entries: RecentEntries | None  # what was written lately, for who follows the log


@define(eq=False, repr=False)
class SqliteStore(Service):
    """`Store` and `Log` on SQLite.

    `open` may be called before `startService`, which otherwise calls it.  Both
    fail with `Unusable`, one line for the operator.
    """

    _directory: Path  # the data directory
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _on_job_completed: OnJobCompleted
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _max_waiting: int = 10_000  # units, and reads, that may wait; one more is refused
    _max_batch: int = 400  # units in one transaction; beyond that a sync is shared by enough
    _read_threads: int = 2
    _lock_timeout: float = 2.0  # seconds to wait while another program has the file locked
    _read_timeout: float = 5.0  # seconds from asking until a read is broken off
    _inline_reads: bool = True  # whether small reads are done where they are asked for
    newest: int = field(default=0, init=False)  # position of the log's head, as far as it was answered
    _commit_listeners: list[Callable[[], object]] = field(factory=list, init=False)
    _resources: _SqliteResources | None = field(default=None, init=False)
    _completion: JobCompletion = field(init=False)
    _log = Logger()

    # The service.

    def open(self) -> None:
        """Lock the directory, migrate, begin a term, start the threads.  Blocks."""
        if self._resources is None:
            with ExitStack() as undo:
                self._resources = self._acquire_resources(undo)
                undo.pop_all()

    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        self.open()

    def startService(self) -> Deferred[None]:
        super().startService()
        return execute(self.open)

    def stopService(self) -> Deferred[None]:
        """Fires when all that was asked is answered and the file is closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    # The ports.

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        near = self._resources.inline_reader if self._resources is not None else None
        began = self._clock.seconds()
        found = near.read(queries) if near is not None else None
        if found is not None:
            self._on_job_completed("read", "success", self._clock.seconds() - began)
            return succeed(found)
        if near is None:
            return self._enqueue("read", lambda reader: reader.snapshot(queries))
        return self._enqueue("read", partial(_snapshot_with_cpu_time, queries)).addCallback(
            _record_cpu_time, near, queries
        )

    def commit(self, unit: Unit) -> Deferred[str]:
        return self._enqueue("write", unit)

    def head(self) -> Deferred[tuple[int, str]]:
        return self._enqueue("read", SqliteReader.head)

    def read_after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        recent = self._resources.recent_entries if self._resources is not None else None
        found = recent.read_after(position, limit) if recent is not None else ()
        return (
            succeed(found)
            if found
            else self._enqueue("read", lambda reader: reader.read_after(position, limit))
        )

    def read_page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._enqueue("read", lambda reader: reader.read_page(lead, low, high))

    def retention_floors(self) -> Deferred[Mapping[str, int]]:
        return self._enqueue("read", SqliteReader.retention_floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Asks the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._resources is not None:
            position = self._resources.terms.position_of(cursor)
            if position is None or position <= self.newest:
                return succeed(position)
        return self._enqueue("read", lambda reader: reader.locate(cursor))

    def cursor_of(self, position: int) -> str:
        """The name of a `position` that was read from this store."""
        return self._open_resources.terms.cursor_of(position)

    def on_commit(self, waker: Callable[[], object]) -> None:
        """Call `waker` in the reactor thread whenever the log has grown."""
        self._commit_listeners.append(waker)

    @property
    def connections(self) -> int:
        """How many are open to the database."""
        return 1 + self._read_threads + self._inline_reads if self._resources else 0

    @property
    def waiting(self) -> dict[str, int]:
        """How many jobs wait for a thread, by operation."""
        return (
            {operation: len(crew) for operation, crew in self._resources.threads.items()}
            if self._resources
            else {}
        )

    # Behind them.

    @_completion.default
    def _make_completion(self) -> JobCompletion:
        return JobCompletion(self._clock, self._on_job_completed)

    @property
    def _open_resources(self) -> _SqliteResources:
        if self._resources is None:
            raise Unavailable("The database is not open")
        return self._resources

    def _enqueue(self, operation: str, work: Unit | ReadWork) -> Deferred[Any]:
        job = Job(operation, work, self._clock.seconds())
        try:
            self._open_resources.threads[operation].enqueue(job)
        except Unavailable as refusal:
            self._completion.complete(job, refusal)
        return job.result

    def _on_transaction_ended(self, jobs: Sequence[Job[Unit]], batch: TransactionResult) -> None:
        """Answer all of a batch, and wake who follows the log."""
        if batch.error is not None:
            self._log.error("{count} units were lost: {fault}", count=len(jobs), fault=str(batch.error))
        self.newest += len(batch.appended)
        if self._resources is not None and self._resources.recent_entries is not None:
            self._resources.recent_entries.add(batch.appended, [job.work for job in jobs])
        for job, outcome in zip(jobs, batch.outcomes):
            self._completion.complete(job, outcome)
        if batch.appended:
            for waker in self._commit_listeners:
                waker()

    def _acquire_resources(self, undo: ExitStack) -> _SqliteResources:
        """All that `open` does; `undo` takes it back if a part fails."""
        directory = DataDirectory.acquire(self._directory)
        undo.callback(directory.release)
        file, sql = directory.create_file(DATABASE_FILE), sql_directory("sqlite")
        statements = load_statements(sql / "queries")
        with translate_sqlite_errors(file):
            connection = connect(file, self._lock_timeout)
            undo.callback(connection.close)
            migrate(connection, load_migrations(sql), statements, self._clock.seconds())
            terms = begin_term(
                connection, statements, self._new_term(), self._namespaces, self._clock.seconds()
            )
            self.newest = connection.execute(statements["log_head"]).fetchone()[0]
            readers, near = [], None
            answered = partial(self._reactor.callFromThread, self._completion.complete)
            for _ in range(self._read_threads):
                own = connect_reader(file, self._lock_timeout)
                undo.callback(own.close)
                readers.append(
                    SqliteReader(own, statements, terms, answered, self._clock, self._read_timeout)
                )
            if self._inline_reads:
                own = connect_reader(file, self._lock_timeout)
                undo.callback(own.close)
                own.execute("PRAGMA busy_timeout = 0")
                reader = SqliteReader(own, statements, terms, answered, self._clock, self._read_timeout)
                near = InlineReader(reader, self._clock)
        settled = partial(self._reactor.callFromThread, self._on_transaction_ended)
        writer = SqliteWriter(connection, statements, terms, settled)
        crews: dict[str, WorkerThreads[Job[Any]]] = {
            "read": WorkerThreads(
                "database reader", self._reactor, readers, self._max_waiting, max_jobs_per_run=1
            ),
            "write": WorkerThreads(
                "database writer", self._reactor, [writer], self._max_waiting, self._max_batch
            ),
        }
        for crew in crews.values():
            crew.start()
        return _SqliteResources(
            directory, terms, crews, near, RecentEntries() if self._inline_reads else None
        )

    async def _stop(self) -> None:
        opened, self._resources = self._resources, None  # from here on everything is refused
        if opened is not None:
            if opened.inline_reader is not None:
                opened.inline_reader.close()
            await opened.threads["read"].stop()
            await opened.threads["write"].stop()  # the last to close the file folds the journal into it
            opened.directory.release()


def _snapshot_with_cpu_time(queries: Sequence[Query], reader: SqliteReader) -> tuple[Snapshot, float]:
    """With the seconds that this thread computed: it may have waited for others much longer."""
    began = thread_time()
    return reader.snapshot(queries), thread_time() - began


def _record_cpu_time(timed: tuple[Snapshot, float], near: InlineReader, queries: Sequence[Query]) -> Snapshot:
    found, seconds = timed
    near.record_cpu_time(queries, seconds)
    return found
