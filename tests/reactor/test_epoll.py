"""Our reactor: so many events a turn and no more, and one that breaks costs no other."""

from __future__ import annotations

import socket
import sys

from attrs import define, field
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from multiproto.reactor.epoll import BUSY_SWITCH_INTERVAL, MAX_EVENTS_PER_TURN, BoundedEpollReactor


@implementer(IReadDescriptor)
@define(eq=False, slots=False)
class Ear:
    """One end of a real pair of sockets, at which there is something to read."""

    reads_badly: bool = False
    ends_badly: bool = False
    heard: int = 0
    ended: Failure | None = None
    ours: socket.socket = field(init=False)
    theirs: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.send(b"x")

    def fileno(self) -> int:
        return self.ours.fileno()

    def logPrefix(self) -> str:
        return "ear"

    def doRead(self) -> None:
        if self.reads_badly:
            raise ZeroDivisionError
        self.heard += 1  # and leaves it there, so that there is always more

    def connectionLost(self, reason: Failure) -> None:
        self.ended = reason
        if self.ends_badly:
            raise ZeroDivisionError


class ReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = BoundedEpollReactor()
        self.ears: list[Ear] = []
        self.addCleanup(self.close)

    def close(self) -> None:
        self.reactor.removeAll()
        for ear in self.ears:
            ear.ours.close()
            ear.theirs.close()

    def listen(self, *ears: Ear) -> None:
        for ear in ears:
            self.ears.append(ear)
            self.reactor.addReader(ear)

    def test_all_have_their_turn(self) -> None:
        """Also where each always has more to say."""
        ears = [Ear() for _ in range(MAX_EVENTS_PER_TURN * 2 + 1)]
        self.listen(*ears)
        for turn in (1, 2, 3):
            self.reactor.doPoll(0)
            self.assertEqual(sum(ear.heard for ear in ears), MAX_EVENTS_PER_TURN * turn)
        self.assertEqual({ear.heard for ear in ears}, {1, 2})

    def test_a_handful_is_one_turn(self) -> None:
        ears = [Ear() for _ in range(MAX_EVENTS_PER_TURN)]
        self.listen(*ears)
        self.reactor.doPoll(0)
        self.assertEqual([ear.heard for ear in ears], [1] * MAX_EVENTS_PER_TURN)

    def test_timers_are_called_in_between(self) -> None:
        ears = [Ear() for _ in range(MAX_EVENTS_PER_TURN + 1)]
        self.listen(*ears)
        heard: list[int] = []
        self.reactor.callLater(0, lambda: heard.append(sum(ear.heard for ear in ears)))
        self.reactor.doPoll(0)
        self.reactor.runUntilCurrent()
        self.assertEqual(heard, [MAX_EVENTS_PER_TURN])

    def test_whatever_breaks_costs_no_other(self) -> None:
        bad, worse, good = Ear(reads_badly=True), Ear(reads_badly=True, ends_badly=True), Ear()
        self.listen(bad, worse, good)
        for _ in range(2):
            self.reactor.doPoll(0)
        self.assertEqual((good.heard, good.ended), (2, None))
        self.assertEqual([type(each.ended) for each in (bad, worse)], [Failure, Failure])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_one_that_an_earlier_closed_is_left_alone(self) -> None:
        one, other = Ear(), Ear()
        self.listen(one, other)
        closes = {one: other, other: one}
        for ear, another in closes.items():
            self.patch(ear, "doRead", lambda another=another: self.reactor.removeReader(another))
        self.reactor.doPoll(0)
        self.assertEqual(len(self.reactor.getReaders()), 2)  # the waker, and whoever came first

    def test_the_order_within_a_turn(self) -> None:
        """What was written is sent after each step; what has waited comes when all is sent, before the next events."""
        done: list[str] = []
        ear = Ear()
        self.listen(ear)

        def read() -> None:
            done.append("event")
            self.reactor.call_after_step(lambda: done.append("sent after events"))

        def timer() -> None:
            done.append("timer")
            self.reactor.call_after_step(lambda: done.append("sent after timers"))

        self.patch(ear, "doRead", read)
        self.reactor.call_before_poll(lambda: done.append("waited"))
        self.reactor.callLater(0, timer)
        self.reactor.iterate()
        self.assertEqual(done, ["timer", "sent after timers", "waited", "event", "sent after events"])

    def test_what_is_to_be_done_again_does_not_hold_the_turn(self) -> None:
        """And the reactor does not wait for events before it."""
        done: list[str] = []

        def again() -> None:
            done.append("again")
            self.reactor.call_before_poll(again)

        self.reactor.call_before_poll(again)
        for _ in range(3):
            self.reactor.doPoll(None)
        self.assertEqual(done, ["again"] * 3)
        self.reactor.call_after_step(lambda: done.append("sent"))
        self.reactor.doPoll(None)
        self.assertEqual(done[3:], ["sent", "again"])

    def test_one_that_breaks_keeps_no_other_from_being_called(self) -> None:
        done: list[str] = []
        for call in (self.reactor.call_after_step, self.reactor.call_before_poll):
            call(lambda: 1 / 0)
            call(lambda: done.append("called"))
        self.reactor.doPoll(0)
        self.assertEqual(done, ["called"] * 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_threads_go_on_sooner_while_long_work_waits(self) -> None:
        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(0.003)
        intervals: list[float] = []

        def work(lengths: list[bool]) -> None:
            self.reactor.has_long_work = lengths[0]
            if lengths[1:]:
                self.reactor.call_before_poll(lambda: work(lengths[1:]))

        self.reactor.call_before_poll(lambda: work([False, True, True, False]))
        for _ in range(5):
            self.reactor.doPoll(0)
            intervals.append(round(sys.getswitchinterval(), 6))
        self.assertEqual(intervals, [0.003, BUSY_SWITCH_INTERVAL, BUSY_SWITCH_INTERVAL, 0.003, 0.003])

    def test_it_waits_no_longer_than_it_is_told(self) -> None:
        self.reactor.callLater(0, self.reactor.wakeUp)
        self.reactor.runUntilCurrent()
        self.reactor.doPoll(None)  # would wait for ever
