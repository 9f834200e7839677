"""When a turn of the reactor began: as our own notes it, and as others are asked."""

from __future__ import annotations

from time import perf_counter

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.turn_scheduler import TURN_BUDGET, TurnScheduler
from multiproto.reactor.epoll import BoundedEpollReactor
from multiproto.reactor.turns import TurnMarker, call_after_step, call_before_poll, current_turn


class OwnReactorTests(SynchronousTestCase):
    def test_the_time_of_others_in_the_same_turn_counts(self) -> None:
        reactor = BoundedEpollReactor()
        self.addCleanup(reactor.disconnectAll)
        scheduler = TurnScheduler(call_before_poll(reactor), perf_counter, current_turn(reactor))
        reactor.callLater(0, lambda: None)
        reactor.iterate()
        self.assertTrue(scheduler.has_time("a"))
        until = perf_counter() + TURN_BUDGET
        while perf_counter() < until:
            pass
        self.assertFalse(scheduler.has_time("a"))
        reactor.iterate()
        self.assertTrue(scheduler.has_time("a"))


class MarkerTests(SynchronousTestCase):
    def test_a_turn_ends_before_the_next_call(self) -> None:
        clock, seconds = Clock(), iter(range(9))
        marker = TurnMarker(clock, lambda: float(next(seconds)))
        self.assertEqual([marker.turn_started_at, marker.turn_started_at], [0.0, 0.0])
        clock.advance(0)
        self.assertEqual([marker.turn_started_at, marker.turn_started_at], [1.0, 1.0])

    def test_it_is_used_for_other_reactors(self) -> None:
        clock = Clock()
        self.assertIsInstance(current_turn(clock), TurnMarker)

    def test_other_reactors_have_delayed_calls(self) -> None:
        clock, done = Clock(), []
        for schedule in (call_after_step(clock), call_before_poll(clock)):
            schedule(lambda: done.append(1))
        self.assertEqual(done, [])
        clock.advance(0)
        self.assertEqual(done, [1, 1])
