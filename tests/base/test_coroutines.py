"""The first step by hand: what waits, what does not, and what fails."""

from __future__ import annotations

import gc
import sys
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.coroutines import start_eagerly


class StartTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.failures: list[Failure] = []
        self.steps: list[Deferred[int]] = [Deferred(), Deferred()]

    async def add(self) -> int:
        return sum([await step for step in self.steps])

    def start(self) -> Any:
        return start_eagerly(self.add(), self.failures.append)

    def test_what_need_not_wait_gives_its_value(self) -> None:
        for step in self.steps:
            step.callback(1)
        self.assertEqual(self.start(), 2)

    def test_what_waits_gives_it_later(self) -> None:
        added = self.start()
        self.steps[0].callback(1)
        self.assertNoResult(added)
        self.steps[1].callback(2)
        self.assertEqual(self.successResultOf(added), 3)

    def test_what_fails_at_once(self) -> None:
        self.steps[0].errback(ZeroDivisionError())
        self.assertIsNone(self.start())
        self.failures.pop().trap(ZeroDivisionError)

    def test_what_fails_later(self) -> None:
        for failing in (0, 1):
            self.setUp()
            added = self.start()
            for step in self.steps[:failing]:
                step.callback(1)
            self.steps[failing].errback(ZeroDivisionError())
            self.assertIsNone(self.successResultOf(added))
            self.failures.pop().trap(ZeroDivisionError)

    def test_what_is_cancelled(self) -> None:
        added = self.start()
        added.cancel()
        self.assertIsNone(self.successResultOf(added))
        self.failures.pop().trap(CancelledError)

    def test_what_is_forgotten_goes_without_a_word(self) -> None:
        said: list[object] = []
        self.patch(sys, "unraisablehook", said.append)
        for _ in range(20):
            self.setUp()
            self.steps.append(self.start())  # a ring, for the garbage collector to open where it likes
        self.steps = []
        gc.collect()
        self.assertEqual((said, self.failures), ([], []))
