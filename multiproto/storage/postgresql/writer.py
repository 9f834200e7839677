"""The one writer of this instance: a bounded queue, drained batch by batch into transactions.

A unit that has waited for `WRITE_TIMEOUT` seconds is refused, and not done later.
A COMMIT whose answer is lost with its connection is looked up on the next one;
only if that can't be done in time is its outcome unknown.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Callable, Mapping, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...base.deadline import Deadline
from ...base.timestamps import format_timestamp
from ...base.waiters import Waiters
from ...core.errors import Unavailable
from ...core.transactions import Unit
from ..cursors import begin_term_steps
from ..jobs import Job, JobCompletion, JobQueue, PositionOrError, outcome_unknown
from .connection import PostgresConnection
from .connector import PostgresConnector
from .errors import DatabaseConnectionLost, StatementFailed, to_refusal
from .pool import PostgresPool
from .reader import PostgresReader
from .session import session_settings
from .statements import PreparedStatement
from .transaction import PostgresTransaction

WRITE_TIMEOUT = 1.75  # seconds that a unit may wait, and that any result may take: refused within two


def writer_session_settings(schema: str) -> tuple[bytes, ...]:
    """The settings of the session that writes, and that other instances wake."""
    return (
        *session_settings(
            schema,
            client_min_messages="warning",  # that a COMMIT no longer waits for its standby
            statement_timeout="1500ms",  # the wait for the lock included
            idle_in_transaction_session_timeout="2s",  # that a halted instance may hold the lock
        ),
        b"LISTEN multiproto_log",
    )


@define(eq=False, repr=False)
class PostgresWriter:
    """Commits units on a connection of its own."""

    _connector: PostgresConnector
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _statements: Mapping[str, PreparedStatement]
    _completion: JobCompletion
    _reader: PostgresReader
    _max_waiting: int  # queued units; one more is refused
    _max_batch: int  # units in one transaction
    _on_log_grown: Callable[[], object]  # called when a commit has appended to the log
    _on_parted: Callable[[], object]  # called when the log has another history than was known
    _new_term: Callable[[], str]
    _namespaces: Sequence[str]  # whose entries the log keeps
    _queue: JobQueue[Unit] = field(init=False)
    _draining: Deferred[None] | None = field(default=None, init=False)
    _pool: PostgresPool = field(init=False)
    _settling: bool = field(default=False, init=False)  # a read has not found the newest head that was known
    _settling_generation: int = field(default=0, init=False)  # of the history that it expected
    _connection_waiters: Waiters[None] = field(factory=Waiters, init=False)

    _log = Logger()

    @_queue.default
    def _make_queue(self) -> JobQueue[Unit]:
        return JobQueue(self._max_waiting, "The database is overloaded")

    @_pool.default
    def _make_pool(self) -> PostgresPool:
        return PostgresPool(self._connector, self._clock, 1, 1, self._on_connected, self._on_unreachable)

    def __len__(self) -> int:
        """How many units are queued."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._pool.connected)

    async def start(self) -> None:
        """Raises `DatabaseUnreachable`, `StatementFailed`, `DatabaseConnectionLost`, `Unavailable`."""
        await self._pool.start()
        transaction = await self._begin(self._pool.connected[0])
        await self._begin_term(transaction, None)
        self._reader.heads.observe(transaction.head)

    async def stop(self) -> None:
        """Returns when all queued units are answered."""
        while self._draining is not None:
            await self._draining
        self._refuse_all("The database is closed")
        await self._pool.stop()

    def enqueue(self, job: Job[Unit]) -> None:
        """Queue `job`.  Raises `Unavailable`: then nothing of it will be done."""
        if self._pool.unreachable_reason is not None:
            raise Unavailable("The database is away")
        displaced = self._queue.enqueue(job)
        if displaced is not None:
            self._completion.complete(displaced, self._queue.overloaded())
        self._start_draining()

    def check_timeouts(self) -> None:
        """Close the connection if it gives no answer, and refuse units that have waited too long."""
        self._pool.check_timeouts()
        late = self._clock.seconds() - WRITE_TIMEOUT
        for job in self._queue.pop_older(late):
            self._completion.complete(job, Unavailable("The database is away or overloaded"))

    def settle_history(self) -> None:
        """Find out whether the log has still the history that is known, and where it parts if not."""
        self._settling, self._settling_generation = True, self._reader.heads.generation
        self._start_draining()

    def _on_connected(self) -> None:
        self._connection_waiters.release(None)
        self._start_draining()

    def _on_unreachable(self) -> None:
        self._refuse_all("The database is away")

    def _refuse_all(self, message: str) -> None:
        for job in self._queue.dequeue(len(self._queue)):
            self._completion.complete(job, Unavailable(message))

    def _start_draining(self) -> None:
        if self._draining is None and (self._queue or self._settling) and self._pool.connected:
            draining = self._draining = Deferred.fromCoroutine(self._drain())
            draining.addErrback(lambda failure: self._log.failure("the writer broke", failure))
            draining.addBoth(self._on_draining_ended)

    def _on_draining_ended(self, _: object) -> None:
        self._draining = None
        self._start_draining()

    async def _drain(self) -> None:
        while (self._queue or self._settling) and self._pool.connected:
            connection = self._pool.connected[0]
            try:
                await self._commit_batch(connection)
            except DatabaseConnectionLost:
                pass  # the batch is answered; the rest waits for the next connection
            except StatementFailed as failed:
                self._log.warn("a transaction failed: {why}", why=str(failed))
                connection.abort()  # the simplest end of a transaction in any state

    async def _commit_batch(self, connection: PostgresConnection) -> None:
        transaction = await self._begin_transaction(connection)
        jobs = self._queue.dequeue(self._max_batch)
        if not jobs:
            await transaction.execute("rollback")
            return
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

    async def _begin(self, connection: PostgresConnection) -> PostgresTransaction:
        return await PostgresTransaction.begin(connection, self._statements, self._reader.heads.newest)

    async def _begin_transaction(self, connection: PostgresConnection) -> PostgresTransaction:
        """A transaction on the history that the reader knows, in a term that it knows."""
        transaction = await self._begin(connection)
        if not transaction.knows_head:
            await self._replace_history(transaction)
            transaction = await self._begin(connection)
        elif transaction.is_new_copy:  # of all that is known: a standby was promoted that lacked nothing
            await self._begin_term(transaction, None)
            self._reader.heads.observe(transaction.head)
            transaction = await self._begin(connection)
        if transaction.newest_term_number != self._reader.newest_term_number:
            self._reader.update_terms((await transaction.execute("terms_all")).rows)
        if self._settling:
            self._settling = False
            if self._reader.heads.generation == self._settling_generation:  # it was read from another server
                self._log.warn("reads and writes went to different servers: all connect anew")
                self._reader.reconnect()
                connection.abort("not the server that is read from")
                raise DatabaseConnectionLost("reads and writes went to different servers")
            self._reader.history_settled()
        return transaction

    async def _replace_history(self, transaction: PostgresTransaction) -> None:
        """Go over to the history of `transaction`, in a term from where it parts on, and commit that.

        Of several instances, the first begins the term.
        """
        heads = self._reader.heads
        known, position = heads.newest, transaction.position
        terms = (await transaction.execute("terms_all")).rows
        if transaction.is_new_copy:  # nobody has written here yet, and all that is here was copied
            await self._begin_term(transaction, None)
        else:
            there = await transaction.execute("heads_among", numbers=heads.numbers)
            common = heads.newest_common(there.rows)
            parting = heads.parted_at(transaction.initial_head, terms, self._reader.term_ids, common)
            position = parting.position
            if parting.has_term:
                # The backup may lack some, and whoever began the term may not keep ours.
                await transaction.execute("floors_begin", namespaces=self._namespaces)
                await transaction.commit()
                self._reader.replace_history(transaction.head, terms)
            else:
                await self._begin_term(transaction, position)
        self._log.critical(
            "the log is another one behind position {position}, {lost} were known: a backup was restored, or a standby "
            "promoted that lacked the latest; all connections are closed",
            position=position,
            lost=max(known.position - position, 0),
        )
        self._on_parted()

    async def _begin_term(self, transaction: PostgresTransaction, after: int | None) -> None:
        """Begin a term behind the position `after`, or else the head, and commit that."""
        at = format_timestamp(self._now())
        for step in begin_term_steps(self._new_term(), self._namespaces, at, after):
            await transaction.execute(step.name, **step.params)
        terms = await transaction.execute("terms_all")
        await transaction.commit()
        if transaction.knows_head:
            self._reader.update_terms(terms.rows)
            self._reader.newest = max(self._reader.newest, transaction.position)
        else:
            self._reader.replace_history(transaction.head, terms.rows)

    def _advance_head(self, transaction: PostgresTransaction, kept: bool) -> None:
        """Note the log's head after `transaction`, if that was `kept`."""
        if kept:
            self._reader.heads.observe(transaction.head)
        if kept and transaction.position > transaction.initial_head.position:
            self._reader.newest = max(self._reader.newest, transaction.position)
            self._on_log_grown()

    async def _resolve_outcomes(
        self, transaction: PostgresTransaction, outcomes: list[PositionOrError]
    ) -> list[PositionOrError]:
        """The outcomes of a transaction whose COMMIT got no answer."""
        kept = await self._was_committed(transaction)
        self._log.warn("a COMMIT got no answer; it was kept: {kept}", kept=kept)
        if kept:
            return outcomes
        why = Unavailable("The database is away") if kept is False else outcome_unknown()
        return [why if isinstance(outcome, int) else outcome for outcome in outcomes]

    async def _was_committed(self, transaction: PostgresTransaction) -> bool | None:
        """Whether `transaction` was committed, and will not be lost; `None` if that can't be found out in time.

        It has ended once another transaction holds the log's lock.  One that is found may be on the disk of this
        server only: another commit behind it waits for the standbys, as it should have itself.
        """
        ends = self._clock.seconds() + WRITE_TIMEOUT
        deadline = Deadline(self._clock)
        while (connection := await self._wait_for_connection(ends - self._clock.seconds())) is not None:
            deadline.set(ends - self._clock.seconds(), connection.abort)
            try:
                later = await PostgresTransaction.begin(connection, self._statements)
                if not await later.has_head(transaction.head):
                    await later.execute("rollback")
                    return False
                await later.commit()
                return True
            except DatabaseConnectionLost:
                continue
            except (StatementFailed, Unavailable) as failed:
                self._log.warn("the outcome can't be looked up: {why}", why=str(failed))
                connection.abort()
            finally:
                deadline.cancel()
        return None

    async def _wait_for_connection(self, timeout: float) -> PostgresConnection | None:
        """The connection, once there is one; `None` when there is none within `timeout` seconds."""
        if not self._pool.connected and timeout > 0:
            with suppress(TimeoutError):
                await self._connection_waiters.wait().addTimeout(timeout, self._clock)
        return self._pool.connected[0] if self._pool.connected and timeout > 0 else None

    def _complete(self, jobs: Sequence[Job[Unit]], outcomes: Sequence[PositionOrError]) -> None:
        for job, outcome in zip(jobs, outcomes):
            self._completion.complete(
                job, self._reader.terms.cursor_of(outcome) if isinstance(outcome, int) else outcome
            )
