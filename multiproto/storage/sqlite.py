"""The embedded store: one SQLite file with the domain's rows and the log, in a directory that is ours.

One thread writes, a few read.  The reactor thread queues work and takes
answers, and reads what is found by a key (`near`); it waits for no lock and no
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

from ..core.errors import Unavailable
from ..core.ports import Entry, Page, Query, Snapshot, Unit
from .connection import begin_term, connect, connect_reader, migrate, usable
from .cursors import Terms
from .datadir import DataDirectory
from .groupcommit import Batch, GroupCommit
from .jobs import Answers, Job, Observed
from .migrations import released
from .near import Near
from .reader import Read, Reader
from .recent import Recent
from .statements import load, sql_directory
from .workers import Crew

FILE = "multiproto.db"  # in the data directory


@frozen
class _Open:
    """What there is between `open` and the end of `stopService`."""

    directory: DataDirectory
    terms: Terms
    crews: Mapping[str, Crew[Job[Any]]]  # operation -> who does it
    near: Near | None  # who reads in the reactor's thread
    recent: Recent | None  # what was written lately, for who follows the log


@define(eq=False, repr=False)
class SqliteStore(Service):
    """`Store` and `Log` on SQLite.

    `open` may be called before `startService`, which otherwise calls it.  Both
    fail with `Unusable`, one line for the operator.
    """

    _path: Path  # the data directory
    _reactor: IReactorFromThreads
    _clock: IReactorTime
    _observed: Observed
    _namespaces: Sequence[str] = ("users.**", "messages.**", "_sessions")  # those that are kept
    _new_term: Callable[[], str] = partial(secrets.token_hex, 8)
    _room: int = 10_000  # units, and reads, that may wait; one more is refused
    _batch: int = 400  # units in one transaction; beyond that a sync is shared by enough
    _read_threads: int = 2
    _lock_patience: float = 2.0  # seconds to wait while another program has the file locked
    _read_patience: float = 5.0  # seconds from asking until a read is broken off
    _fast: bool = True  # whether small reads are done where they are asked for
    newest: int = field(default=0, init=False)  # position of the log's head, as far as it was answered
    _wakers: list[Callable[[], object]] = field(factory=list, init=False)
    _opened: _Open | None = field(default=None, init=False)
    _answers: Answers = field(init=False)
    _log = Logger()

    # The service.

    def open(self) -> None:
        """Lock the directory, migrate, begin a term, start the threads.  Blocks."""
        if self._opened is None:
            with ExitStack() as undo:
                self._opened = self._set_up(undo)
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
        near = self._opened.near if self._opened is not None else None
        began = self._clock.seconds()
        found = near.read(queries) if near is not None else None
        if found is not None:
            self._observed("read", "success", self._clock.seconds() - began)
            return succeed(found)
        if near is None:
            return self._ask("read", lambda reader: reader.snapshot(queries))
        return self._ask("read", partial(_timed, queries)).addCallback(_learned, near, queries)

    def commit(self, unit: Unit) -> Deferred[str]:
        return self._ask("write", unit)

    def head(self) -> Deferred[tuple[int, str]]:
        return self._ask("read", Reader.newest)

    def after(self, position: int, limit: int) -> Deferred[tuple[Entry, ...]]:
        recent = self._opened.recent if self._opened is not None else None
        found = recent.after(position, limit) if recent is not None else ()
        return succeed(found) if found else self._ask("read", lambda reader: reader.after(position, limit))

    def page(self, lead: str, low: int, high: int) -> Deferred[Page]:
        return self._ask("read", lambda reader: reader.page(lead, low, high))

    def floors(self) -> Deferred[Mapping[str, int]]:
        return self._ask("read", Reader.floors)

    def locate(self, cursor: str) -> Deferred[int | None]:
        """Asks the database only for a position ahead of `newest`: thousands may resume at once."""
        if self._opened is not None:
            position = self._opened.terms.position(cursor)
            if position is None or position <= self.newest:
                return succeed(position)
        return self._ask("read", lambda reader: reader.locate(cursor))

    def cursor_of(self, position: int) -> str:
        """The name of a `position` that was read from this store."""
        return self._running.terms.cursor(position)

    def on_commit(self, waker: Callable[[], object]) -> None:
        """Call `waker` in the reactor thread whenever the log has grown."""
        self._wakers.append(waker)

    @property
    def connections(self) -> int:
        """How many are open to the database."""
        return 1 + self._read_threads + self._fast if self._opened else 0

    @property
    def waiting(self) -> dict[str, int]:
        """How many jobs wait for a thread, by operation."""
        return (
            {operation: len(crew) for operation, crew in self._opened.crews.items()} if self._opened else {}
        )

    # Behind them.

    @_answers.default
    def _make_answers(self) -> Answers:
        return Answers(self._clock, self._observed)

    @property
    def _running(self) -> _Open:
        if self._opened is None:
            raise Unavailable("The database is not open")
        return self._opened

    def _ask(self, operation: str, work: Unit | Read) -> Deferred[Any]:
        job = Job(operation, work, self._clock.seconds())
        try:
            self._running.crews[operation].give(job)
        except Unavailable as refusal:
            self._answers.give(job, refusal)
        return job.answer

    def _settle(self, jobs: Sequence[Job[Unit]], batch: Batch) -> None:
        """Answer all of a batch, and wake who follows the log."""
        if batch.fault is not None:
            self._log.error("{count} units were lost: {fault}", count=len(jobs), fault=str(batch.fault))
        self.newest += len(batch.appended)
        if self._opened is not None and self._opened.recent is not None:
            self._opened.recent.add(batch.appended, [job.work for job in jobs])
        for job, outcome in zip(jobs, batch.outcomes):
            self._answers.give(job, outcome)
        if batch.appended:
            for waker in self._wakers:
                waker()

    def _set_up(self, undo: ExitStack) -> _Open:
        """All that `open` does; `undo` takes it back if a part fails."""
        directory = DataDirectory.take(self._path)
        undo.callback(directory.release)
        file, sql = directory.file(FILE), sql_directory("sqlite")
        statements = load(sql / "queries")
        with usable(file):
            connection = connect(file, self._lock_patience)
            undo.callback(connection.close)
            migrate(connection, released(sql), statements, self._clock.seconds())
            terms = begin_term(
                connection, statements, self._new_term(), self._namespaces, self._clock.seconds()
            )
            self.newest = connection.execute(statements["log_head"]).fetchone()[0]
            readers, near = [], None
            answered = partial(self._reactor.callFromThread, self._answers.give)
            for _ in range(self._read_threads):
                own = connect_reader(file, self._lock_patience)
                undo.callback(own.close)
                readers.append(Reader(own, statements, terms, answered, self._clock, self._read_patience))
            if self._fast:
                own = connect_reader(file, self._lock_patience)
                undo.callback(own.close)
                own.execute("PRAGMA busy_timeout = 0")
                reader = Reader(own, statements, terms, answered, self._clock, self._read_patience)
                near = Near(reader, self._clock)
        settled = partial(self._reactor.callFromThread, self._settle)
        writer = GroupCommit(connection, statements, terms, settled)
        crews: dict[str, Crew[Job[Any]]] = {
            "read": Crew("database reader", self._reactor, readers, self._room, bite=1),
            "write": Crew("database writer", self._reactor, [writer], self._room, self._batch),
        }
        for crew in crews.values():
            crew.start()
        return _Open(directory, terms, crews, near, Recent() if self._fast else None)

    async def _stop(self) -> None:
        opened, self._opened = self._opened, None  # from here on everything is refused
        if opened is not None:
            if opened.near is not None:
                opened.near.close()
            await opened.crews["read"].stop()
            await opened.crews["write"].stop()  # the last to close the file folds the journal into it
            opened.directory.release()


def _timed(queries: Sequence[Query], reader: Reader) -> tuple[Snapshot, float]:
    """With the seconds that this thread computed: it may have waited for others much longer."""
    began = thread_time()
    return reader.snapshot(queries), thread_time() - began


def _learned(timed: tuple[Snapshot, float], near: Near, queries: Sequence[Query]) -> Snapshot:
    found, seconds = timed
    near.learn(queries, seconds)
    return found
