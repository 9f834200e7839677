"""The time of day beside a clock that nobody sets: what counts as a leap, and what expires meanwhile."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from multiproto.observe.wall_clock import CHECK_INTERVAL, LEAP, WallClock, is_wall_clock
from multiproto.reactor.epoll import BoundedEpollReactor

START = 1_800_000_000.0  # seconds since the epoch
HOUR, DAY = 3600.0, 86_400.0


class WallClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.ahead = Clock(), START
        self.clock.advance(1234)
        self.wall = WallClock(self.clock, self.now)
        self.logged = EventLoggingObserver()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)
        self.wall.startService()
        self.addCleanup(self.wall.stopService)

    def now(self) -> float:
        return self.clock.seconds() + self.ahead

    def live_on(self, seconds: float) -> None:
        self.clock.pump([CHECK_INTERVAL] * int(seconds / CHECK_INTERVAL))

    def levels(self) -> list[str]:
        return [event["log_level"].name for event in self.logged if "wall_clock" in event["log_namespace"]]

    def test_without_a_leap_there_is_one_time_of_day(self) -> None:
        self.live_on(HOUR)
        self.assertEqual((self.wall.earliest_now(), self.wall.latest_now()), (self.now(), self.now()))
        self.assertEqual((self.wall.warning(), self.wall.difference, self.levels()), (None, 0.0, []))

    def test_a_leap_is_more_than_a_minute_either_way(self) -> None:
        for seconds, leapt in ((LEAP, False), (LEAP + 1, True), (-LEAP, False), (-LEAP - 1, True)):
            self.ahead = START + seconds
            self.assertEqual(self.wall.is_wrong, leapt, seconds)

    def test_meanwhile_things_expire_late_and_begin_late(self) -> None:
        for seconds in (-40 * DAY, -HOUR, 600, 40 * DAY):
            self.ahead = START + seconds
            steady = self.clock.seconds() + START
            self.assertEqual(self.wall.earliest_now(), min(steady, steady + seconds))
            self.assertEqual(self.wall.latest_now(), max(steady, steady + seconds))

    def test_it_is_noticed_at_once_logged_once_and_ends_when_the_time_is_right_again(self) -> None:
        self.ahead = START - HOUR
        self.assertIn("set back by 3600 s", self.wall.warning() or "")
        self.live_on(HOUR)
        self.assertEqual(self.levels(), ["warn"])
        self.ahead = START
        self.assertIsNone(self.wall.warning())
        self.live_on(60)
        self.assertEqual(self.levels(), ["warn", "info"])

    def test_a_leap_is_never_forgotten(self) -> None:
        self.ahead = START + HOUR
        self.live_on(DAY)
        self.assertEqual(self.wall.difference, HOUR)

    def test_small_corrections_do_not_add_up(self) -> None:
        """A time server that steps by a second each hour, for days."""
        for _ in range(65):
            self.ahead -= 1
            self.live_on(HOUR)
        self.assertEqual((self.wall.warning(), round(self.wall.difference, 6)), (None, 0.0))

    def test_more_than_a_minute_beside_the_database_is_wrong(self) -> None:
        self.clock.advance(10)
        for ahead, wrong in (
            (LEAP, False),
            (LEAP + 1, True),
            (-LEAP, False),
            (-LEAP - 1, True),
            (40 * DAY, True),
        ):
            self.wall.record_database_time(self.now() - ahead - 3, self.clock.seconds() - 3)  # asked 3 s ago
            self.assertEqual((self.wall.is_wrong, self.wall.may_delete_by_age), (wrong, not wrong), ahead)
            self.assertEqual(self.wall.database_difference, ahead)
            times = sorted((self.now(), self.now() - ahead if wrong else self.now()))
            self.assertEqual([self.wall.earliest_now(), self.wall.latest_now()], times)
            self.assertEqual(self.wall.time_behind(), max(0, -ahead) if wrong else 0)
        self.assertIn("3456000 s ahead of the database's", self.wall.warning() or "")
        self.live_on(2 * CHECK_INTERVAL)
        self.wall.record_database_time(self.now(), self.clock.seconds())
        self.live_on(2 * CHECK_INTERVAL)
        self.assertEqual(self.levels(), ["warn", "info"])

    def test_an_old_log_delays_deletions_for_as_long_as_it_seems_old_and_a_day_at_most(self) -> None:
        for age, delay in ((LEAP, 0), (LEAP + 1, LEAP + 1), (DAY, DAY), (40 * DAY, DAY)):
            wall = WallClock(self.clock, self.now)
            wall.record_newest_entry(self.now() - age, delays_deletion=True)
            self.assertEqual(wall.may_delete_by_age, not delay, age)
            self.assertEqual(self.now() - wall.deletion_now(), age if delay else 0)
            self.assertEqual(wall.earliest_now(), self.now())  # expired is what has expired
            if delay:
                self.clock.advance(delay - 1)
                self.assertIn("another 1 s", wall.deletion_notice() or "")
                self.assertFalse(wall.may_delete_by_age)
                self.clock.advance(1)
            self.assertEqual((wall.may_delete_by_age, wall.deletion_notice()), (True, None))
            self.assertEqual(wall.deletion_now(), self.now())
            self.assertIsNone(wall.warning())

    def test_an_operator_may_do_without_the_delay(self) -> None:
        self.wall.record_newest_entry(self.now() - DAY, delays_deletion=False)
        self.assertEqual((self.wall.may_delete_by_age, self.wall.deletion_notice()), (True, None))
        self.assertEqual(self.wall.deletion_now(), self.now())

    def test_a_newest_entry_from_later_than_now_is_a_contradiction_without_a_database_that_knows_better(
        self,
    ) -> None:
        self.wall.record_newest_entry(self.now() + LEAP, delays_deletion=True)
        self.assertFalse(self.wall.is_wrong)
        self.wall.record_newest_entry(self.now() + LEAP + 1, delays_deletion=True)
        self.assertIn("61 s behind that of the log's newest entry", self.wall.warning() or "")
        times = self.wall.earliest_now(), self.wall.latest_now()
        self.assertEqual(times, (self.now(), self.now() + LEAP + 1))
        self.wall.record_database_time(self.now(), self.clock.seconds())
        self.assertIsNone(self.wall.warning())

    def test_a_reactor_whose_timers_go_by_the_time_of_day_is_told_of(self) -> None:
        from twisted.internet import reactor

        self.assertTrue(is_wall_clock(reactor))
        other = WallClock(reactor, self.now)  # type: ignore[arg-type]
        other.startService()
        other.stopService()
        self.assertEqual(self.levels(), ["warn"])


class SteadyReactorTests(SynchronousTestCase):
    def test_timers_of_ours_do_not_go_by_the_time_of_day(self) -> None:
        reactor = BoundedEpollReactor()
        self.addCleanup(reactor.disconnectAll)
        call = reactor.callLater(5, lambda: None)
        self.assertFalse(is_wall_clock(reactor))
        self.assertFalse(is_wall_clock(call))
        self.assertLess(abs(call.getTime() - reactor.seconds()), 6)
        call.reset(50)
        self.assertGreater(call.getTime() - reactor.seconds(), 40)
