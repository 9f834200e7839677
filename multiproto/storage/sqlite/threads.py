"""Threads that drain one bounded queue; no other code of the store touches threads."""

from __future__ import annotations

from threading import Condition, Thread
from typing import Generic, Protocol, Sequence, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from ...core.errors import Unavailable
from ..jobs import Job, JobQueue

Work = TypeVar("Work")


class ThreadWorker(Protocol[Work]):
    """Does the jobs of one thread.  No method may raise."""

    @property
    def max_jobs(self) -> int:
        """How many jobs it takes from the queue at once."""

    def run_jobs(self, jobs: Sequence[Job[Work]]) -> None:
        """Do `jobs`, in order, and deliver their outcomes."""

    def close(self) -> None:
        """Release everything; called last, in the same thread."""


@define(eq=False, repr=False)
class WorkerThreads(Generic[Work]):
    """Workers, one thread each, that take jobs from one queue, by turns of their owners.

    The threads are daemons: a process that can't stop properly ends all the
    same, and no committed work is lost by it.
    """

    _name: str
    _reactor: IReactorFromThreads
    _workers: Sequence[ThreadWorker[Work]]
    _max_waiting: int  # queued jobs; one more is refused
    _queue: JobQueue[Work] = field(init=False)
    _condition: Condition = field(factory=Condition, init=False)
    _stopping: bool = field(default=False, init=False)
    _running_threads: int = field(default=0, init=False)
    _stopped: Deferred[None] = field(factory=Deferred, init=False)

    @_queue.default
    def _make_queue(self) -> JobQueue[Work]:
        return JobQueue(self._max_waiting, f"The {self._name} is overloaded")

    def start(self) -> None:
        self._running_threads = len(self._workers)
        for worker in self._workers:
            Thread(target=self._run, args=(worker,), name=self._name, daemon=True).start()

    def enqueue(self, job: Job[Work]) -> Job[Work] | None:
        """As `JobQueue.enqueue`; not to be called after `stop`."""
        with self._condition:
            displaced = self._queue.enqueue(job)
            self._condition.notify()
        return displaced

    def overloaded(self) -> Unavailable:
        return self._queue.overloaded()

    def stop(self) -> Deferred[None]:
        """Fires when all queued jobs are done and the threads have ended."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        return self._stopped

    def __len__(self) -> int:
        """How many jobs are queued."""
        return len(self._queue)

    def _run(self, worker: ThreadWorker[Work]) -> None:
        while jobs := self._dequeue(worker.max_jobs):
            worker.run_jobs(jobs)
        worker.close()
        self._reactor.callFromThread(self._on_thread_ended)

    def _dequeue(self, most: int) -> list[Job[Work]]:
        """The next jobs, once there are some; none when the thread is to end."""
        with self._condition:
            while not self._queue and not self._stopping:
                self._condition.wait()
            return self._queue.dequeue(most)

    def _on_thread_ended(self) -> None:
        self._running_threads -= 1
        if not self._running_threads:
            self._stopped.callback(None)
