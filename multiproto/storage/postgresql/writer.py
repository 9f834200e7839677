"""The one writer of this instance: a bounded queue, drained batch by batch into transactions.

Whoever has waited for `WRITE_TIMEOUT` seconds is refused, and nothing of theirs is
done later.  A COMMIT whose answer is lost with its connection is looked up on
the next one; only if that can't be had in time is its outcome unknown.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Callable, Deque, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...core.errors import DatabaseError, Unavailable
from ...core.model import format_timestamp
from ...core.transactions import Unit
from ..cursors import begin_term_steps
from ..jobs import Job, JobCompletion, PositionOrError
from .connection import PostgresConnection
from .connector import PostgresConnector
from .errors import DatabaseConnectionLost, StatementFailed, to_refusal
from .pool import PostgresPool
from .reader import PostgresReader
from .statements import PreparedStatement
from .transaction import PostgresTransaction

WRITE_TIMEOUT = 1.75  # seconds that a unit may wait, and that any answer may take: refused within two

WRITER_SESSION_SETTINGS = (
    b"SET synchronous_commit = 'on'",
    b"SET default_transaction_isolation = 'read committed'",  # what comes behind the lock sees all before it
    b"SET statement_timeout = 1500",  # ms, the wait for the lock included
    b"SET idle_in_transaction_session_timeout = 2000",  # ms that a halted instance may hold the lock
    b"LISTEN multiproto_log",
)


@define(eq=False, repr=False)
class PostgresWriter:
    _connector: PostgresConnector
    _clock: IReactorTime
    _statements: Mapping[str, PreparedStatement]
    _completion: JobCompletion
    _reader: PostgresReader
    _max_waiting: int  # units that may wait; one more is refused
    _max_batch: int  # units in one transaction
    _on_log_grown: Callable[[], object]  # called when the log is longer
    _new_term: Callable[[], str]
    _namespaces: Sequence[str]  # those that are kept
    _queue: Deque[Job[Unit]] = field(factory=deque, init=False)
    _draining: Deferred[None] | None = field(default=None, init=False)
    _pool: PostgresPool = field(init=False)
    _head: int = field(default=0, init=False)  # of the log, behind our last transaction
    _connection_waiters: list[Deferred[None]] = field(factory=list, init=False)  # who waits for a line

    _log = Logger()

    @_pool.default
    def _make_pool(self) -> PostgresPool:
        return PostgresPool(self._connector, self._clock, 1, 1, self._on_connected, self._on_unreachable)

    def __len__(self) -> int:
        """How many units wait."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._pool.connected)

    async def start(self) -> None:
        """Raises `Away`, `StatementFailed`, `DatabaseConnectionLost`, `Unavailable`."""
        await self._pool.start()
        await self._begin_term(self._pool.connected[0])

    async def stop(self) -> None:
        """Returns when all that waited is answered."""
        while self._draining is not None:
            await self._draining
        self._on_unreachable("closed")
        await self._pool.stop()

    def enqueue(self, job: Job[Unit]) -> None:
        """Raises `Unavailable`: nothing of it will be done."""
        if self._pool.unreachable_reason is not None:
            raise Unavailable("The database is away")
        if len(self._queue) >= self._max_waiting:
            raise Unavailable("The database is overloaded")
        self._queue.append(job)
        self._start_draining()

    def check_timeouts(self) -> None:
        """Time has gone by."""
        self._pool.check_timeouts()
        late = self._clock.seconds() - WRITE_TIMEOUT
        while self._queue and self._queue[0].enqueued_at <= late:
            self._completion.complete(
                self._queue.popleft(), Unavailable("The database is away or overloaded")
            )

    def _on_connected(self) -> None:
        waiting, self._connection_waiters = self._connection_waiters, []
        for each in waiting:
            each.callback(None)
        self._start_draining()

    def _on_unreachable(self, why: str) -> None:
        while self._queue:
            self._completion.complete(self._queue.popleft(), Unavailable("The database is away"))

    def _start_draining(self) -> None:
        if self._draining is None and self._queue and self._pool.connected:
            working = self._draining = Deferred.fromCoroutine(self._drain())
            working.addErrback(lambda failure: self._log.failure("the writer broke", failure))
            working.addBoth(self._on_draining_ended)

    def _on_draining_ended(self, _: object) -> None:
        self._draining = None
        self._start_draining()

    async def _drain(self) -> None:
        while self._queue and self._pool.connected:
            line = self._pool.connected[0]
            try:
                await self._commit_batch(line)
            except DatabaseConnectionLost:
                pass  # what was taken is answered; the rest waits for the next line
            except StatementFailed as failed:
                self._log.warn("a transaction failed: {why}", why=str(failed))
                line.abort()  # the simplest end of a transaction in any state

    async def _commit_batch(self, line: PostgresConnection) -> None:
        transaction = await self._begin_transaction(line)
        jobs = [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
        try:
            outcomes = await transaction.execute_units([job.work for job in jobs])
        except Exception as error:
            self._complete(jobs, [to_refusal(error)] * len(jobs))
            raise
        try:
            await transaction.commit()
        except DatabaseConnectionLost:
            outcomes = await self._resolve_outcomes(transaction, outcomes)
        except Unavailable as refusal:
            outcomes = [refusal] * len(jobs)
        self._advance_head(transaction, any(isinstance(outcome, int) for outcome in outcomes))
        self._complete(jobs, outcomes)

    async def _begin_transaction(self, line: PostgresConnection) -> PostgresTransaction:
        """A transaction in a term that is known here."""
        transaction = await PostgresTransaction.begin(line, self._statements)
        if transaction.initial_head < self._head:
            self._log.critical("the log has gone back: a backup was restored")
            await transaction.execute("rollback")
            await self._begin_term(line)
            transaction = await PostgresTransaction.begin(line, self._statements)
        if transaction.newest_term_number != self._reader.newest_term_number:
            self._reader.update_terms((await transaction.execute("terms_all")).rows)
        return transaction

    async def _begin_term(self, line: PostgresConnection) -> None:
        transaction = await PostgresTransaction.begin(line, self._statements)
        at = format_timestamp(self._clock.seconds())
        for step in begin_term_steps(self._new_term(), self._namespaces, at):
            await transaction.execute(step.name, **step.params)
        terms = await transaction.execute("terms_all")
        await transaction.commit()
        self._reader.update_terms(terms.rows)
        self._head = self._reader.newest = transaction.head

    def _advance_head(self, transaction: PostgresTransaction, kept: bool) -> None:
        """`transaction` has ended, and was `kept` or not."""
        if kept and transaction.head > transaction.initial_head:
            self._head = self._reader.newest = transaction.head
            self._on_log_grown()

    async def _resolve_outcomes(
        self, transaction: PostgresTransaction, outcomes: list[PositionOrError]
    ) -> list[PositionOrError]:
        """What became of a transaction whose COMMIT got no answer."""
        kept = await self._was_committed(transaction)
        self._log.warn("a COMMIT got no answer; it was kept: {kept}", kept=kept)
        if kept:
            return outcomes
        why = (
            Unavailable("The database is away")
            if kept is False
            else DatabaseError("It is unknown whether this was kept")
        )
        return [why if isinstance(outcome, int) else outcome for outcome in outcomes]

    async def _was_committed(self, transaction: PostgresTransaction) -> bool | None:
        """Whether it was committed; `None` if nobody can say in time.

        Who holds the head's lock knows that it has ended.
        """
        give_up = self._clock.seconds() + WRITE_TIMEOUT
        while (line := await self._wait_for_connection(give_up - self._clock.seconds())) is not None:
            try:
                later = await PostgresTransaction.begin(line, self._statements)
                result = await later.execute("transaction_status", transaction=transaction.transaction_id)
                await later.execute("rollback")
                return bool(result.rows[0]["status"] == "committed")
            except DatabaseConnectionLost:
                continue
            except StatementFailed as failed:  # e.g. "in the future", of a database that was restored
                self._log.warn("the outcome can't be looked up: {why}", why=str(failed))
                line.abort()
        return None

    async def _wait_for_connection(self, patience: float) -> PostgresConnection | None:
        """The line, once it is up; `None` when it is not within `patience` seconds."""
        if not self._pool.connected and patience > 0:
            up: Deferred[None] = Deferred()
            self._connection_waiters.append(up)
            with suppress(TimeoutError):
                await up.addTimeout(patience, self._clock)
        return self._pool.connected[0] if self._pool.connected and patience > 0 else None

    def _complete(self, jobs: Sequence[Job[Unit]], outcomes: Sequence[PositionOrError]) -> None:
        for job, outcome in zip(jobs, outcomes):
            self._completion.complete(
                job, self._reader.terms.cursor_of(outcome) if isinstance(outcome, int) else outcome
            )
