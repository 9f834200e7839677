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
Observed = Callable[[str, str, float], object]

_OURS = (DatabaseError, TimedOut, Unavailable)


@define(eq=False, repr=False)
class Job(Generic[Work]):
    operation: str  # "read" or "write"
    work: Work
    asked: float  # the clock's seconds
    answer: Deferred[Any] = field(factory=Deferred)


@define(eq=False, repr=False)
class Answers:
    """Gives jobs their outcomes, in the reactor thread."""

    _clock: IReactorTime
    _observed: Observed
    _log = Logger()

    def give(self, job: Job[Any], outcome: object) -> None:
        """Fire the answer of `job`; with `outcome` as its failure if that is an exception."""
        if isinstance(outcome, Exception) and not isinstance(outcome, Refusal):
            self._log.failure("a {operation} went wrong", Failure(outcome), operation=job.operation)
            outcome = DatabaseError("Database error")
        self._observed(job.operation, _status(outcome), self._clock.seconds() - job.asked)
        if isinstance(outcome, Refusal):
            job.answer.errback(outcome)
        else:
            job.answer.callback(outcome)


def _status(outcome: object) -> str:
    if isinstance(outcome, _OURS):
        return "error"
    return "refused" if isinstance(outcome, Refusal) else "success"
