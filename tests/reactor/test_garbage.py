"""When garbage is collected: not in the middle of a turn, and all of it when there is nothing else to do."""

from __future__ import annotations

import gc
import time
from collections import deque
from weakref import ref

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from multiproto.reactor import epoll
from multiproto.reactor.epoll import IDLE_TIME, BoundedEpollReactor
from multiproto.reactor.garbage import (
    MAX_POSTPONED,
    THRESHOLDS,
    YOUNG_INTERVAL,
    arrange_collections,
    collect,
)


class Circle:
    """Garbage that only a collection finds."""

    def __init__(self) -> None:
        self.itself = self


def make_garbage(objects: int) -> ref[Circle]:
    first = Circle()
    for _ in range(objects):
        Circle()
    return ref(first)


class GarbageCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.enable)
        self.reactor = BoundedEpollReactor()
        self.addCleanup(self.reactor.disconnectAll)
        self.now = 1.0
        self.patch(epoll, "perf_counter", lambda: self.now)


class TurnsTests(GarbageCase):
    def test_it_is_collected_between_turns(self) -> None:
        arrange_collections(self.reactor)
        found: list[object] = []

        def work() -> None:
            kept = make_garbage(THRESHOLDS[0])
            found.append(kept() is not None)
            self.reactor.callLater(0, lambda: found.append(kept() is not None))

        self.reactor.callLater(0, work)
        self.reactor.iterate()
        self.reactor.iterate()
        self.assertEqual(found, [True, False])

    def test_a_few_objects_are_left(self) -> None:
        arrange_collections(self.reactor)
        kept = make_garbage(THRESHOLDS[0] // 4)
        self.reactor.iterate()
        self.assertIsNotNone(kept())

    def test_a_collection_of_what_is_new_is_short(self) -> None:
        """Each object takes a microsecond, wherever it is found to be alive."""
        arrange_collections(self.reactor)
        looked_through: list[int] = []

        def note(phase: str, info: dict[str, int]) -> None:
            if phase == "start":
                young = range(info["generation"] + 1)
                looked_through.append(sum(len(gc.get_objects(generation)) for generation in young))

        gc.callbacks.append(note)
        self.addCleanup(gc.callbacks.remove, note)
        kept = []
        for _ in range(60):
            kept += [Circle() for _ in range(1_000)]
            self.reactor.iterate()
        self.assertGreater(len(looked_through), 20)
        self.assertLess(max(looked_through), 10_000)

    def test_the_young_are_collected_in_time_where_as_many_old_ones_go(self) -> None:
        """By Python's count there are none: it takes off what is gone, however old it was."""
        arrange_collections(self.reactor)
        kept = deque([n] for n in range(10_000))
        for _ in range(60):
            self.now += YOUNG_INTERVAL / 2
            self.reactor.iterate()
            for n in range(1_000):
                kept.append([n])
                kept.popleft()
        self.assertLess(len(gc.get_objects(0)), 10_000)

    def test_other_reactors_leave_it_to_python(self) -> None:
        arrange_collections(Clock())
        self.assertEqual((gc.isenabled(), gc.get_threshold()), (True, THRESHOLDS))

    def test_what_exists_is_exempt(self) -> None:
        frozen = gc.get_freeze_count()
        arrange_collections(self.reactor)
        self.assertGreater(gc.get_freeze_count(), frozen)


class GenerationTests(GarbageCase):
    def collected(self, young: int, middle: int, is_idle: bool) -> int:
        """The generation that is collected after so many collections of the two before it."""
        collected: list[int] = []
        self.patch(gc, "get_count", lambda: (THRESHOLDS[0], young, middle))
        self.patch(gc, "collect", lambda generation=2: collected.append(generation))
        collect(lambda: is_idle)
        [generation] = collected
        return generation

    def test_the_older_the_more_seldom(self) -> None:
        _, young, middle = THRESHOLDS
        for counts, is_idle, generation in (
            ((young - 1, 0), True, 0),
            ((young, 0), True, 1),
            ((young, middle - 1), True, 1),
            ((young, middle), True, 2),
            ((0, middle), True, 2),
            ((young, middle), False, 1),
            ((young, MAX_POSTPONED - 1), False, 1),
            ((0, MAX_POSTPONED), False, 2),
        ):
            self.assertEqual(self.collected(*counts, is_idle), generation, (counts, is_idle))

    def test_it_is_not_idle_while_something_is_ready(self) -> None:
        """Nor while calls are due, nor where it has slept for a short time only: then all of the garbage waits."""
        asked: list[bool] = []
        self.patch(gc, "get_count", lambda: (THRESHOLDS[0], 0, THRESHOLDS[2]))
        self.patch(gc, "collect", lambda generation=2: asked.append(generation == 2))
        self.reactor.collect_garbage_between_turns()
        self.patch(epoll, "perf_counter", time.perf_counter)
        self.reactor.doPoll(IDLE_TIME)
        self.reactor.doPoll(0)
        self.reactor.doPoll(IDLE_TIME)
        self.reactor.doPoll(0.001)
        self.reactor.doPoll(IDLE_TIME)
        self.reactor.wakeUp()
        self.reactor.doPoll(0.001)
        self.assertEqual(asked, [False, False, False, True, False, False])
