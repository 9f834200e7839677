"""Reads and writes that wait to be executed, and how their outcomes reach the callers."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar, Union

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import DatabaseError, Refusal, TimedOut, Unavailable

Work = TypeVar("Work")

# Called with the operation ("read" or "write"), the status and the seconds from call to result.  The status is
# "success", "refused" (the unit missed or clashed) or "error" (of ours, or the database's).
OnJobCompleted = Callable[[str, str, float], object]

PositionOrError = Union[int, Exception]  # the log's head behind a unit, or why nothing of the unit was done

_SERVER_ERRORS = (DatabaseError, TimedOut, Unavailable)


@define(eq=False, repr=False)
class Job(Generic[Work]):
    """One read or write on its way."""

    operation: str  # "read" or "write"
    work: Work
    enqueued_at: float  # the clock's seconds
    result: Deferred[Any] = field(factory=Deferred)


@define(eq=False, repr=False)
class JobCompletion:
    """Logs, counts and delivers the outcomes of jobs, in the reactor thread."""

    _clock: IReactorTime
    _on_job_completed: OnJobCompleted
    _log = Logger()

    def complete(self, job: Job[Any], outcome: object) -> None:
        """Fire the result of `job` with `outcome`, as a failure if that is an exception."""
        if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
            self._log.failure("a {operation} went wrong", Failure(outcome), operation=job.operation)
            outcome = DatabaseError("Database error")
        self._on_job_completed(job.operation, _status_label(outcome), self._clock.seconds() - job.enqueued_at)
        if isinstance(outcome, Refusal):
            job.result.errback(outcome)
        else:
            job.result.callback(outcome)


def _status_label(outcome: object) -> str:
    if isinstance(outcome, _SERVER_ERRORS):
        return "error"
    return "refused" if isinstance(outcome, Refusal) else "success"
