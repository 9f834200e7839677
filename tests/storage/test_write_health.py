"""Whether writes fail, from what became of the latest ones."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.errors import Conflict, DatabaseError, Unavailable
from multiproto.core.transactions import Unit
from multiproto.storage.jobs import Job, JobCompletion, QueueFull
from multiproto.storage.write_health import FAILURE_COUNTS_FOR


class WriteHealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.completion = JobCompletion(self.clock, lambda operation, status, seconds: None)

    def complete(self, outcome: object, operation: str = "write") -> None:
        job = Job(operation, Unit(()), 0.0)
        job.result.addErrback(lambda failure: None)
        self.completion.complete(job, outcome)

    @property
    def works(self) -> bool:
        try:
            self.completion.write_health.check()
        except Unavailable:
            return False
        return True

    def test_before_any_write_all_is_well(self) -> None:
        self.assertTrue(self.works)

    def test_a_failure_counts_until_one_succeeds(self) -> None:
        for failure in (Unavailable("full"), DatabaseError("unknown")):
            self.complete(failure)
            self.clock.advance(1000)
            self.assertFalse(self.works)
            self.complete("cursor")
            self.assertTrue(self.works)

    def test_a_failure_counts_for_a_while_whatever_succeeds_meanwhile(self) -> None:
        self.complete(Unavailable("full"))
        self.complete("cursor")
        self.clock.advance(FAILURE_COUNTS_FOR - 0.1)
        self.assertFalse(self.works)
        self.clock.advance(0.1)
        self.assertTrue(self.works)

    def test_a_unit_that_clashes_shows_a_database_that_works(self) -> None:
        self.complete(Unavailable("full"))
        self.clock.advance(FAILURE_COUNTS_FOR)
        self.complete(Conflict("taken"))
        self.assertTrue(self.works)

    def test_neither_reads_nor_a_full_queue_nor_a_bug_say_anything(self) -> None:
        self.complete(Unavailable("away"), "read")
        self.complete(QueueFull("overloaded"))
        self.complete(ValueError("a bug"))
        self.assertTrue(self.works)
        self.complete(Unavailable("full"))
        self.clock.advance(FAILURE_COUNTS_FOR)
        self.complete("rows", "read")
        self.complete(QueueFull("overloaded"))
        self.complete(ValueError("a bug"))
        self.assertFalse(self.works)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)
