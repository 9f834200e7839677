"""Reads and writes that wait to be executed, and how their outcomes reach the callers."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar, Union

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..base.round_robin import RoundRobinQueue
from ..core.errors import DatabaseError, DataDamaged, Refusal, TimedOut, Unavailable
from .damage import DamageRecord
from .write_health import WriteHealth

Work = TypeVar("Work")

MAX_BATCH = 400  # units in one transaction; beyond that a sync is shared by enough

# Called with the operation ("read" or "write"), the status and the seconds from call to result.  The status is
# "success", "refused" (the unit missed or clashed) or "error" (of ours, or the database's).
OnJobCompleted = Callable[[str, str, float], object]

PositionOrError = Union[int, Exception]  # the log's head behind a unit, or why nothing of the unit was done

_SERVER_ERRORS = (DatabaseError, TimedOut, Unavailable)


class QueueFull(Unavailable):
    """Too many jobs wait already; says nothing about the database."""


def outcome_unknown() -> DatabaseError:
    """The refusal of a unit whose commit failed in a way that does not say whether it was kept."""
    return DatabaseError("It is unknown whether this was kept: repeat it with the same idempotency key")


@define(eq=False, repr=False)
class Job(Generic[Work]):
    """One read or write on its way."""

    operation: str  # "read" or "write"
    work: Work
    enqueued_at: float  # the clock's seconds
    owner: str = ""  # whose share of the queue it has
    result: Deferred[Any] = field(factory=Deferred)


@define(eq=False, repr=False)
class JobQueue(Generic[Work]):
    """A bounded queue of jobs, by turns of their owners."""

    _max_waiting: int  # one more is refused
    _full_message: str
    _jobs: RoundRobinQueue[Job[Work]] = field(factory=RoundRobinQueue, init=False)

    def __len__(self) -> int:
        return len(self._jobs)

    def enqueue(self, job: Job[Work]) -> Job[Work] | None:
        """Queue `job`; returns the one that has lost its place to it, if any, which is to be refused.

        Of a full queue, an owner that has two places fewer than another may have one of those.
        Raises `QueueFull` when there is no place: then nothing of `job` will be done.
        """
        displaced = None
        if len(self._jobs) >= self._max_waiting:
            if self._jobs.count_of(self._jobs.greediest) < self._jobs.count_of(job.owner) + 2:
                raise self.overloaded()
            displaced = self._jobs.pop_newest()
        self._jobs.enqueue(job, job.owner)
        return displaced

    def overloaded(self) -> Unavailable:
        return QueueFull(self._full_message)

    def dequeue(self, most: int) -> list[Job[Work]]:
        """The next `most` jobs, or as many as there are."""
        count = min(most, len(self._jobs))
        return [job for _ in range(count) if (job := self._jobs.dequeue()) is not None]

    def pop_older(self, enqueued_at: float) -> list[Job[Work]]:
        """Remove the jobs that were queued at `enqueued_at` or before."""
        return self._jobs.pop_while(lambda job: job.enqueued_at <= enqueued_at)


@define(eq=False, repr=False)
class JobCompletion:
    """Logs, counts and delivers the outcomes of jobs, in the reactor thread."""

    _clock: IReactorTime
    _on_job_completed: OnJobCompleted
    write_health: WriteHealth = field(init=False)
    damage: DamageRecord = field(factory=DamageRecord, init=False)
    _log = Logger()

    @write_health.default
    def _make_write_health(self) -> WriteHealth:
        return WriteHealth(self._clock)

    def complete(self, job: Job[Any], outcome: object) -> None:
        """Fire the result of `job` with `outcome`, as a failure if that is an exception."""
        if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
            self._log.failure("a {operation} went wrong", Failure(outcome), operation=job.operation)
            outcome = DatabaseError("Database error")
        elif job.operation == "write" and not isinstance(outcome, QueueFull):
            self._record_health(outcome)
        self._on_job_completed(job.operation, _status_label(outcome), self._clock.seconds() - job.enqueued_at)
        if isinstance(outcome, Refusal):
            if isinstance(outcome, DataDamaged):
                self.damage.add(outcome)
            job.result.errback(outcome)
        else:
            job.result.callback(outcome)

    def _record_health(self, outcome: object) -> None:
        if isinstance(outcome, _SERVER_ERRORS):
            self.write_health.record_failure(outcome)
        else:  # a unit that missed or clashed found a database that works
            self.write_health.record_success()


def _status_label(outcome: object) -> str:
    if isinstance(outcome, _SERVER_ERRORS):
        return "error"
    return "refused" if isinstance(outcome, Refusal) else "success"
