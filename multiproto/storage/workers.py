"""Threads that drain one bounded queue, and nothing else that touches threads here."""

from __future__ import annotations

from collections import deque
from threading import Condition, Thread
from typing import Generic, Protocol, Sequence, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from ..core.errors import Unavailable

Job = TypeVar("Job")
Job_contra = TypeVar("Job_contra", contravariant=True)


class Worker(Protocol[Job_contra]):
    """What lives in one thread.  Neither may raise."""

    def work(self, jobs: Sequence[Job_contra]) -> None:
        """Do `jobs`, in order, and see to their answers."""

    def close(self) -> None:
        """Called last, in the same thread."""


@define(eq=False, repr=False)
class Crew(Generic[Job]):
    """Some workers, one thread each, taking jobs in the order they were given.

    The threads are daemons: a process that can't stop properly ends anyway,
    and nothing that was answered is lost by it.
    """

    _name: str
    _reactor: IReactorFromThreads
    _workers: Sequence[Worker[Job]]
    _limit: int  # jobs that may wait; one more is refused
    _bite: int  # jobs that a worker takes at once, if so many wait
    _waiting: deque[Job] = field(factory=deque, init=False)
    _changed: Condition = field(factory=Condition, init=False)
    _stopping: bool = field(default=False, init=False)
    _at_work: int = field(default=0, init=False)  # threads
    _stopped: Deferred[None] = field(factory=Deferred, init=False)

    def start(self) -> None:
        self._at_work = len(self._workers)
        for worker in self._workers:
            Thread(target=self._run, args=(worker,), name=self._name, daemon=True).start()

    def give(self, job: Job) -> None:
        """Queue `job`, never behind `stop`.  Raises `Unavailable` when too many wait."""
        with self._changed:
            if len(self._waiting) >= self._limit:
                raise Unavailable(f"The {self._name} is overloaded")
            self._waiting.append(job)
            self._changed.notify()

    def stop(self) -> Deferred[None]:
        """Fires when all that wait are done and the threads are gone."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        return self._stopped

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def _run(self, worker: Worker[Job]) -> None:
        while jobs := self._take():
            worker.work(jobs)
        worker.close()
        self._reactor.callFromThread(self._left)

    def _take(self) -> list[Job]:
        """The next jobs, once there are some; none when it is time to go."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(min(self._bite, len(self._waiting)))]

    def _left(self) -> None:
        self._at_work -= 1
        if not self._at_work:
            self._stopped.callback(None)
