"""Whose jobs a bounded queue keeps, and in which order they are done."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Unavailable
from multiproto.storage.jobs import Job, JobQueue


class JobQueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue: JobQueue[str] = JobQueue(4, "full")

    def add(self, work: str, at: float = 0.0) -> str | None:
        """A job of the owner that `work` begins with; what lost its place to it."""
        displaced = self.queue.enqueue(Job("write", work, at, work[0]))
        return displaced.work if displaced is not None else None

    def done(self, most: int) -> list[str]:
        return [job.work for job in self.queue.dequeue(most)]

    def test_by_turns_and_each_in_its_order(self) -> None:
        for work in ("a1", "a2", "a3", "b1"):
            self.add(work)
        self.assertEqual(self.done(3), ["a1", "b1", "a2"])
        self.assertEqual((self.done(9), len(self.queue)), (["a3"], 0))

    def test_one_who_has_all_places_is_refused_one_more(self) -> None:
        for n in range(4):
            self.add(f"a{n}")
        with self.assertRaises(Unavailable):
            self.add("a4")
        self.assertEqual(self.done(9), ["a0", "a1", "a2", "a3"])

    def test_but_makes_room_for_others(self) -> None:
        """Until they have as many, or one fewer."""
        for n in range(4):
            self.add(f"a{n}")
        self.assertEqual([self.add("b0"), self.add("b1")], ["a3", "a2"])
        with self.assertRaises(Unavailable):
            self.add("b2")
        self.assertEqual(self.add("c0"), "a1")
        self.assertEqual(self.done(9), ["a0", "b0", "c0", "b1"])

    def test_those_that_have_waited_too_long(self) -> None:
        for work, at in (("a0", 1.0), ("a1", 3.0), ("b0", 2.0), ("b1", 2.5)):
            self.add(work, at)
        self.assertEqual([job.work for job in self.queue.pop_older(2.0)], ["a0", "b0"])
        self.assertEqual(self.done(9), ["a1", "b1"])
