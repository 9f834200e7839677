"""What is asked of a storage thread, and how its answer gets back to who asked."""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..core.errors import DatabaseError, Refusal, TimedOut, Unavailable

Work = TypeVar("Work")

# Told of each read and unit: "read" or "write"; "success", "refused" (its own doing) or "error" (ours);
# seconds from asking to answer.
OnJobCompleted = Callable[[str, str, float], object]

_SERVER_ERRORS = (DatabaseError, TimedOut, Unavailable)


@define(eq=False, repr=False)
class Job(Generic[Work]):
    operation: str  # "read" or "write"
    work: Work
    enqueued_at: float  # the clock's seconds
    result: Deferred[Any] = field(factory=Deferred)


@define(eq=False, repr=False)
class JobCompletion:
    """Gives jobs their outcomes, in the reactor thread."""

    _clock: IReactorTime
    _on_job_completed: OnJobCompleted
    _log = Logger()

    def complete(self, job: Job[Any], outcome: object) -> None:
        """Fire the answer of `job`; with `outcome` as its failure if that is an exception."""
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
