"""The one writer of this instance: a bounded queue, drained batch by batch into transactions.

Whoever has waited for `PATIENCE` seconds is refused, and nothing of theirs is
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
from ...core.model import timestamp
from ...core.ports import Unit
from ..jobs import Answers, Job
from .dial import Dialer
from .faults import explained
from .groupcommit import Outcome, Transaction
from .line import Failed, Line, Lost
from .lines import Lines
from .log import Log
from .statements import Statement

PATIENCE = 1.75  # seconds that a unit may wait, and that any answer may take: refused within two

SETTINGS = (
    b"SET synchronous_commit = 'on'",
    b"SET default_transaction_isolation = 'read committed'",  # what comes behind the lock sees all before it
    b"SET statement_timeout = 1500",  # ms, the wait for the lock included
    b"SET idle_in_transaction_session_timeout = 2000",  # ms that a halted instance may hold the lock
    b"LISTEN multiproto_log",
)


@define(eq=False, repr=False)
class Writer:
    _dialer: Dialer
    _clock: IReactorTime
    _statements: Mapping[str, Statement]
    _answers: Answers
    _history: Log
    _room: int  # units that may wait; one more is refused
    _most: int  # units in one transaction
    _grown: Callable[[], object]  # called when the log is longer
    _new_term: Callable[[], str]
    _namespaces: Sequence[str]  # those that are kept
    _queue: Deque[Job[Unit]] = field(factory=deque, init=False)
    _working: Deferred[None] | None = field(default=None, init=False)
    _lines: Lines = field(init=False)
    _head: int = field(default=0, init=False)  # of the log, behind our last transaction
    _up: list[Deferred[None]] = field(factory=list, init=False)  # who waits for a line

    _log = Logger()

    @_lines.default
    def _make_lines(self) -> Lines:
        return Lines(self._dialer, self._clock, 1, 1, self._on_up, self._on_away)

    def __len__(self) -> int:
        """How many units wait."""
        return len(self._queue)

    @property
    def connections(self) -> int:
        return len(self._lines.up)

    async def start(self) -> None:
        """Raises `Away`, `Failed`, `Lost`, `Unavailable`."""
        await self._lines.start()
        await self._begin_term(self._lines.up[0])

    async def stop(self) -> None:
        """Returns when all that waited is answered."""
        while self._working is not None:
            await self._working
        self._on_away("closed")
        await self._lines.stop()

    def give(self, job: Job[Unit]) -> None:
        """Raises `Unavailable`: nothing of it will be done."""
        if self._lines.away is not None:
            raise Unavailable("The database is away")
        if len(self._queue) >= self._room:
            raise Unavailable("The database is overloaded")
        self._queue.append(job)
        self._wake()

    def check(self) -> None:
        """Time has gone by."""
        self._lines.check()
        late = self._clock.seconds() - PATIENCE
        while self._queue and self._queue[0].asked <= late:
            self._answers.give(self._queue.popleft(), Unavailable("The database is away or overloaded"))

    def _on_up(self) -> None:
        waiting, self._up = self._up, []
        for each in waiting:
            each.callback(None)
        self._wake()

    def _on_away(self, why: str) -> None:
        while self._queue:
            self._answers.give(self._queue.popleft(), Unavailable("The database is away"))

    def _wake(self) -> None:
        if self._working is None and self._queue and self._lines.up:
            working = self._working = Deferred.fromCoroutine(self._work())
            working.addErrback(lambda failure: self._log.failure("the writer broke", failure))
            working.addBoth(self._rest)

    def _rest(self, _: object) -> None:
        self._working = None
        self._wake()

    async def _work(self) -> None:
        while self._queue and self._lines.up:
            line = self._lines.up[0]
            try:
                await self._batch(line)
            except Lost:
                pass  # what was taken is answered; the rest waits for the next line
            except Failed as failed:
                self._log.warn("a transaction failed: {why}", why=str(failed))
                line.cut()  # the simplest end of a transaction in any state

    async def _batch(self, line: Line) -> None:
        transaction = await self._begin(line)
        jobs = [self._queue.popleft() for _ in range(min(self._most, len(self._queue)))]
        try:
            outcomes = await transaction.attempt([job.work for job in jobs])
        except Exception as error:
            self._give(jobs, [explained(error)] * len(jobs))
            raise
        try:
            await transaction.commit()
        except Lost:
            outcomes = await self._settled(transaction, outcomes)
        except Unavailable as refusal:
            outcomes = [refusal] * len(jobs)
        self._reached(transaction, any(isinstance(outcome, int) for outcome in outcomes))
        self._give(jobs, outcomes)

    async def _begin(self, line: Line) -> Transaction:
        """A transaction in a term that is known here."""
        transaction = await Transaction.begin(line, self._statements)
        if transaction.before < self._head:
            self._log.critical("the log has gone back: a backup was restored")
            await transaction.ask("rollback")
            await self._begin_term(line)
            transaction = await Transaction.begin(line, self._statements)
        if transaction.term != self._history.term:
            self._history.learn(await transaction.ask("terms_all"))
        return transaction

    async def _begin_term(self, line: Line) -> None:
        transaction = await Transaction.begin(line, self._statements)
        at = timestamp(self._clock.seconds())
        await transaction.ask("term_begin", id=self._new_term(), at=at)
        await transaction.ask("floors_forget", namespaces=self._namespaces)
        await transaction.ask("floors_begin", namespaces=self._namespaces)
        terms = await transaction.ask("terms_all")
        await transaction.commit()
        self._history.learn(terms)
        self._head = self._history.newest = transaction.head

    def _reached(self, transaction: Transaction, kept: bool) -> None:
        """`transaction` has ended, and was `kept` or not."""
        if kept and transaction.head > transaction.before:
            self._head = self._history.newest = transaction.head
            self._grown()

    async def _settled(self, transaction: Transaction, outcomes: list[Outcome]) -> list[Outcome]:
        """What became of a transaction whose COMMIT got no answer."""
        kept = await self._kept(transaction)
        self._log.warn("a COMMIT got no answer; it was kept: {kept}", kept=kept)
        if kept:
            return outcomes
        why = (
            Unavailable("The database is away")
            if kept is False
            else DatabaseError("It is unknown whether this was kept")
        )
        return [why if isinstance(outcome, int) else outcome for outcome in outcomes]

    async def _kept(self, transaction: Transaction) -> bool | None:
        """Whether it was committed; `None` if nobody can say in time.

        Who holds the head's lock knows that it has ended.
        """
        give_up = self._clock.seconds() + PATIENCE
        while (line := await self._line(give_up - self._clock.seconds())) is not None:
            try:
                later = await Transaction.begin(line, self._statements)
                result = await later.ask("transaction_status", transaction=transaction.id)
                await later.ask("rollback")
                return bool(result.rows[0]["status"] == "committed")
            except Lost:
                continue
            except Failed as failed:  # e.g. "in the future", of a database that was restored
                self._log.warn("the outcome can't be looked up: {why}", why=str(failed))
                line.cut()
        return None

    async def _line(self, patience: float) -> Line | None:
        """The line, once it is up; `None` when it is not within `patience` seconds."""
        if not self._lines.up and patience > 0:
            up: Deferred[None] = Deferred()
            self._up.append(up)
            with suppress(TimeoutError):
                await up.addTimeout(patience, self._clock)
        return self._lines.up[0] if self._lines.up and patience > 0 else None

    def _give(self, jobs: Sequence[Job[Unit]], outcomes: Sequence[Outcome]) -> None:
        for job, outcome in zip(jobs, outcomes):
            self._answers.give(
                job, self._history.terms.cursor(outcome) if isinstance(outcome, int) else outcome
            )
