from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock, deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from multiproto.graphql.execution.asyncio_loop import TwistedEventLoop


async def later(clock: Any, value: str, seconds: float = 1) -> str:
    return str(await deferLater(clock, seconds, lambda: value))


async def together(loop: TwistedEventLoop, clock: Any) -> list[str]:
    """Two Deferreds awaited at once, as graphql-core awaits parallel fields."""
    waits = [loop.result_or_future(later(clock, value)) for value in "ab"]
    return list(await asyncio.gather(*waits))  # type: ignore[arg-type]


class ClockLoopTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.loop = TwistedEventLoop.for_clock(self.clock)

    def test_waits_for_deferreds_in_parallel(self) -> None:
        result = self.loop.run(lambda: together(self.loop, self.clock))
        self.clock.advance(0)
        self.assertNoResult(result)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(result), ["a", "b"])

    def test_what_needs_no_waiting_is_there_at_once(self) -> None:
        async def ready() -> str:
            return await succeed("ready")

        self.assertEqual(self.loop.result_or_future(ready()), "ready")
        self.assertEqual(self.successResultOf(self.loop.run(lambda: "plain")), "plain")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_whose_time_callbacks_take(self) -> None:
        """That of whom the work is done for, also in the tasks that it creates, and for what is done with the result."""
        took: Counter[str] = Counter()
        loop = TwistedEventLoop.for_clock(self.clock, lambda owner, seconds: took.update({owner: seconds}))

        def spend(seconds: int) -> None:
            self.clock.rightNow += seconds

        async def work(seconds: int) -> None:
            for _ in range(2):
                await asyncio.sleep(0)
                spend(seconds)

        async def all_work(seconds: int) -> int:
            await asyncio.gather(work(seconds), work(seconds))
            return seconds

        for owner, seconds in (("ann", 1), ("bob", 16)):
            loop.run(lambda seconds=seconds: all_work(seconds), owner).addCallback(spend)
        while self.clock.getDelayedCalls():
            self.clock.advance(0)
        self.assertEqual(+took, {"ann": 5, "bob": 80})

    def test_failures_cross_over(self) -> None:
        async def broken() -> None:
            raise KeyError("why")

        async def waits() -> None:
            await self.loop.result_or_future(broken())  # type: ignore[misc]

        result = self.loop.run(waits)
        self.clock.advance(0)
        self.failureResultOf(result, KeyError)

    def test_cancelling_reaches_what_is_waited_for(self) -> None:
        waited: Deferred[None] = Deferred()

        async def wait() -> None:
            await waited

        async def waits() -> None:
            await self.loop.result_or_future(wait())  # type: ignore[misc]

        result = self.loop.run(waits)
        self.clock.advance(0)
        result.addErrback(lambda failure: None)
        result.cancel()
        self.clock.advance(0)
        self.successResultOf(result)
        self.assertTrue(waited.called)

    def test_timers_keep_the_clocks_time(self) -> None:
        called: list[float] = []
        self.loop.call_later(2, lambda: called.append(self.loop.time()))
        self.loop.call_at(3, lambda: called.append(self.loop.time()))
        self.loop.call_later(1, lambda: called.append(-1)).cancel()
        self.clock.pump([1, 1, 1])
        self.assertEqual(called, [2, 3])

    def test_other_loops_are_left_as_they_were(self) -> None:
        """`--reactor=asyncio`: our turn comes within that of a loop that is running."""

        async def outside() -> tuple[Any, Any]:
            seen: list[Any] = []
            self.loop.run(lambda: seen.append(asyncio.get_running_loop()))
            return seen[0], asyncio.get_running_loop()

        outer = asyncio.new_event_loop()
        self.addCleanup(outer.close)
        inner, after = outer.run_until_complete(outside())
        self.assertEqual((inner, after), (self.loop, outer))
        self.assertFalse(self.loop.is_running())
        self.assertFalse(self.loop.is_closed())

    def test_on_the_asyncio_reactor(self) -> None:
        outer = asyncio.new_event_loop()
        reactor = AsyncioSelectorReactor(outer)
        loop = TwistedEventLoop.for_clock(reactor)
        results: list[Any] = []

        async def work() -> list[str]:
            waits = (loop.result_or_future(later(reactor, value, 0.001)) for value in "ab")
            return list(await asyncio.gather(*waits))  # type: ignore[arg-type]

        def begin() -> None:
            loop.run(work).addBoth(results.append).addBoth(lambda _: reactor.stop())

        reactor.callWhenRunning(begin)
        reactor.run(installSignalHandlers=False)
        outer.close()
        self.assertEqual(results, [["a", "b"]])

    def test_failures_that_nobody_takes_are_logged(self) -> None:
        async def broken() -> None:
            raise KeyError("lost")

        with capturedLogs() as logs:
            task = self.loop.create_task(broken())
            self.clock.advance(0)
            del task
            gc.collect()
        self.assertEqual([event["exception"].args for event in logs], [("lost",)])
