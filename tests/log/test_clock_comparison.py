"""When the clocks of the database and of this process are compared, and with what."""

from __future__ import annotations

from typing import Any

from attrs import Factory, define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.timestamps import format_timestamp
from multiproto.core.errors import Unavailable
from multiproto.core.transactions import Query, Snapshot
from multiproto.log.clock_comparison import ClockComparison
from multiproto.observe.wall_clock import CHECK_INTERVAL, WallClock

NOW = 1_800_000_000.0  # seconds since the epoch


@define(eq=False)
class Asked:
    """A store whose answers are given by the test."""

    answers: list[Deferred[Snapshot]] = Factory(list)

    def read(self, *queries: Query) -> Deferred[Snapshot]:
        assert [query.name for query in queries] == ["clocks"]
        self.answers.append(Deferred())
        return self.answers[-1]

    def answer(self, now: float | None, newest: float | None) -> None:
        row = {
            name: None if at is None else format_timestamp(at)
            for name, at in (("now", now), ("newest", newest))
        }
        self.answers[-1].callback(Snapshot(((row,),), "cursor"))


class ComparisonTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.store = Clock(), Asked()
        self.wall_clock = WallClock(self.clock, lambda: NOW + self.clock.seconds())
        store: Any = self.store
        self.comparison = ClockComparison(store, self.wall_clock, self.clock)

    def start(self) -> Deferred[None]:
        started = self.comparison.startService()
        self.addCleanup(self.comparison.stopService)
        return started

    def test_the_start_waits_for_the_first_and_every_few_seconds_another_follows(self) -> None:
        started = self.start()
        self.assertNoResult(started)
        self.store.answer(NOW - 100, None)
        self.successResultOf(started)
        self.assertEqual(self.wall_clock.database_difference, 100)
        self.clock.advance(CHECK_INTERVAL - 1)
        self.assertEqual(len(self.store.answers), 1)
        self.clock.advance(1)
        self.store.answer(NOW + CHECK_INTERVAL, NOW)
        self.assertEqual((len(self.store.answers), self.wall_clock.database_difference), (2, 0))

    def test_the_way_to_the_database_is_reckoned_with(self) -> None:
        self.start()
        self.clock.advance(4)
        self.store.answer(NOW + 2, None)
        self.assertEqual(self.wall_clock.database_difference, 0)

    def test_a_database_that_is_away_is_asked_again(self) -> None:
        self.start()
        self.store.answer(NOW, None)
        self.clock.advance(CHECK_INTERVAL)
        self.store.answers[-1].errback(Unavailable("away"))
        self.clock.advance(CHECK_INTERVAL)
        self.store.answer(NOW, None)
        self.assertEqual(self.wall_clock.database_difference, 2 * CHECK_INTERVAL)

    def test_without_a_clock_of_its_own_only_the_age_of_the_log_is_told(self) -> None:
        """And only at the start: later, it has entries of ours."""
        self.start()
        self.store.answer(None, NOW - 500)
        self.assertEqual(self.wall_clock.database_difference, 0)
        self.assertFalse(self.wall_clock.may_delete_by_age)
        self.clock.advance(500)
        self.store.answer(None, NOW - 9999)
        self.assertTrue(self.wall_clock.may_delete_by_age)

    def test_a_stop_before_the_first_answer_and_one_after_it(self) -> None:
        """Neither leaves a timer, and the second waits for the question that is asked."""
        started = self.start()
        self.comparison.stopService()
        self.store.answer(NOW, None)
        self.successResultOf(started)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.start()
        self.store.answer(NOW, None)
        self.clock.advance(CHECK_INTERVAL)
        stopped = self.comparison.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        self.store.answer(NOW, None)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
