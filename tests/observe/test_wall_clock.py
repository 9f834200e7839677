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
            self.assertEqual(self.wall.has_leapt, leapt, seconds)

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
