"""The embedded store: one SQLite file with the domain's rows and the log, in a data directory of its own.

One thread writes, a few read.  The reactor thread queues their jobs, receives the
results, and does small reads itself (`inline_reader`); it waits for no lock and
no sync, except in `open`, before anybody is served.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import thread_time, time
from typing import Any, Callable, Mapping, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import Logger

from ...core.errors import Unavailable
from ...core.transactions import Entry, Page, Query, Snapshot, Unit
from ..cursors import Terms
from ..jobs import MAX_BATCH, Job, JobCompletion, OnJobCompleted
from ..migrations import load_migrations
from ..service import StoreService
from ..statements import load_statements, sql_directory
from .connection import connect, connect_reader
from .data_directory import DataDirectory
from .errors import translate_sqlite_errors
from .inline_reader import InlineReader
from .migrate import migrate
from .reader import ReadWork, SqliteReader
from .threads import WorkerThreads
from .writer import SqliteWriter, TransactionResult, begin_term

DATABASE_FILE = "multiproto.db"  # in the data directory
# Entries that the reactor's thread reads of the log itself, some 10 µs each: those of a commit just made are still
# in memory.  A longer backlog is left to the threads.
INLINE_BACKLOG = 200


@frozen
class _SqliteResources:
    """All that exists between `open` and the end of `stopService`."""

    directory: DataDirectory
    terms: Terms
    threads: Mapping[str, WorkerThreads[Any]]  # operation -> the threads that do it
    inline_reader: InlineReader | None  # reads in the reactor's thread


@define(eq=False, repr=False)
class SqliteStore(StoreService):
    """A `LogStore` on SQLite, for one process."""

    _directory: Path  # the data directory
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _on_job_completed: OnJobCompleted
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _max_waiting: int = 10_000  # units, and reads, that may wait; one more is refused
    _max_batch: int = MAX_BATCH
    _read_threads: int = 2
    _lock_timeout: float = 2.0  # seconds to wait while another program has the file locked
    _read_timeout: float = 5.0  # seconds from call until a read is broken off
    _now: Callable[[], float] = time  # seconds since the epoch
    _inline_reads: bool = True  # whether small reads are done in the reactor's thread
    _newest: int = field(default=0, init=False)  # position of the log's head behind the last commit
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

    def startService(self) -> Deferred[None]:
        super().startService()
        return execute(self.open)

    def stopService(self) -> Deferred[None]:
        """Fires when all reads and writes are answered and the file is closed."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    # The ports.

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        inline = self._resources.inline_reader if self._resources is not None else None
        began = self._clock.seconds()
        found = inline.read(queries) if inline is not None else None
        if found is not None:
            self._on_job_completed("read", "success", self._clock.seconds() - began)
            return succeed(found)
        if inline is None:
            return self._enqueue("read", lambda reader: reader.snapshot(queries))
        return self._enqueue("read", partial(_snapshot_with_cpu_time, queries)).addCallback(
            _record_cpu_time, inline, queries
        )

    def commit(self, unit: Unit) -> Deferred[str]:
        return self._enqueue("write", unit)

    def head(self) -> Deferred[tuple[int, str]]:
        return self._enqueue("read", SqliteReader.head)

    def read_after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        inline = self._resources.inline_reader if self._resources is not None else None
        is_short = position >= self.newest - INLINE_BACKLOG
        found = inline.read_after(position, limit) if inline is not None and is_short else None
        if found is not None:
            return succeed(found)
        return self._enqueue("read", lambda reader: reader.read_after(position, limit))

    def read_page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._enqueue("read", lambda reader: reader.read_page(lead, low, high))

    def retention_floors(self) -> Deferred[Mapping[str, int]]:
        return self._enqueue("read", SqliteReader.retention_floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Reads the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._resources is not None:
            position = self._resources.terms.position_of(cursor)
            if position is None or position <= self._newest:
                return succeed(position)
        return self._enqueue("read", lambda reader: reader.locate(cursor))

    def check_writes(self) -> None:
        self._completion.write_health.check()

    @property
    def damage_warning(self) -> str | None:
        return self._completion.damage.warning

    def cursor_of(self, position: int) -> str:
        return self._open_resources.terms.cursor_of(position)

    def cursors_of(self, positions: Sequence[int]) -> list[str]:
        return self._open_resources.terms.cursors_of(positions)

    @property
    def newest(self) -> int:
        return self._newest

    @property
    def connections(self) -> int:
        return 1 + self._read_threads + self._inline_reads if self._resources else 0

    @property
    def waiting(self) -> dict[str, int]:
        opened = self._resources
        return {operation: len(threads) for operation, threads in opened.threads.items()} if opened else {}

    # Internals.

    @_completion.default
    def _make_completion(self) -> JobCompletion:
        return JobCompletion(self._clock, self._on_job_completed)

    @property
    def _open_resources(self) -> _SqliteResources:
        if self._resources is None:
            raise Unavailable("The database is not open")
        return self._resources

    def _enqueue(self, operation: str, work: Unit | ReadWork) -> Deferred[Any]:
        job = Job(operation, work, self._clock.seconds(), work.owner if isinstance(work, Unit) else "")
        try:
            threads = self._open_resources.threads[operation]
            displaced = threads.enqueue(job)
        except Unavailable as refusal:
            self._completion.complete(job, refusal)
        else:
            if displaced is not None:
                self._completion.complete(displaced, threads.overloaded())
        return job.result

    def _on_transaction_ended(self, jobs: Sequence[Job[Unit]], batch: TransactionResult) -> None:
        """Complete all jobs of a transaction and, if the log has grown, call the commit listeners."""
        if batch.error is not None:
            self._log.error(
                "{count} writes to {directory} failed, of which none was acknowledged: {why}",
                count=len(jobs),
                directory=str(self._directory),
                why=str(batch.error),
            )
        self._newest += batch.appended
        for job, outcome in zip(jobs, batch.outcomes):
            self._completion.complete(job, outcome)
        if batch.appended:
            self._notify_commit()

    def _acquire_resources(self, undo: ExitStack) -> _SqliteResources:
        """All that `open` does; `undo` reverts it if a part fails."""
        directory = DataDirectory.acquire(self._directory)
        undo.callback(directory.release)
        file, sql = directory.create_file(DATABASE_FILE), sql_directory("sqlite")
        statements = load_statements(sql / "queries")
        with translate_sqlite_errors(file):
            connection = connect(file, self._lock_timeout)
            undo.callback(connection.close)
            migrate(connection, load_migrations(sql), statements, self._now())
            terms = begin_term(connection, statements, self._new_term(), self._namespaces, self._now())
            self._newest = connection.execute(statements["log_head"]).fetchone()[0]
            complete = partial(self._reactor.callFromThread, self._completion.complete)

            def open_reader(lock_timeout: float) -> SqliteReader:
                own = connect_reader(file, lock_timeout)
                undo.callback(own.close)
                return SqliteReader(own, statements, terms, complete, self._clock, self._read_timeout)

            readers = [open_reader(self._lock_timeout) for _ in range(self._read_threads)]
            inline = InlineReader(open_reader(0), self._clock) if self._inline_reads else None
        on_ended = partial(self._reactor.callFromThread, self._on_transaction_ended)
        writer = SqliteWriter(connection, statements, terms, on_ended, self._max_batch)
        threads: dict[str, WorkerThreads[Any]] = {
            "read": WorkerThreads("database reader", self._reactor, readers, self._max_waiting),
            "write": WorkerThreads("database writer", self._reactor, [writer], self._max_waiting),
        }
        for group in threads.values():
            group.start()
        return _SqliteResources(directory, terms, threads, inline)

    async def _stop(self) -> None:
        opened, self._resources = self._resources, None  # from here on everything is refused
        if opened is not None:
            if opened.inline_reader is not None:
                opened.inline_reader.close()
            await opened.threads["read"].stop()
            # Last, for the last connection to close folds the journal into the file.
            await opened.threads["write"].stop()
            opened.directory.release()


def _snapshot_with_cpu_time(queries: Sequence[Query], reader: SqliteReader) -> tuple[Snapshot, float]:
    """The snapshot and the CPU seconds of this thread: it may have waited for others much longer."""
    began = thread_time()
    return reader.snapshot(queries), thread_time() - began


def _record_cpu_time(
    timed: tuple[Snapshot, float], inline: InlineReader, queries: Sequence[Query]
) -> Snapshot:
    found, seconds = timed
    inline.record_cpu_time(queries, seconds)
    return found
