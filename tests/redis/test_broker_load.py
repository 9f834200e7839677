"""A lane with more to do than it likes, and one that ends: what is lost is counted, and nothing holds the reactor."""

from __future__ import annotations

import time

from attrs import define
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.broker.redis_codec import encode, encode_publication
from multiproto.core.protocol import Delivery
from multiproto.redis.address import RedisAddress
from tests.proxy import HOST, Proxy, _End
from tests.servers import Redis
from tests.timing import only_by_stopwatch

from .cases import KEY, RedisCase, said


@define(eq=False)
class SlowEar:
    """Takes 1 ms of CPU for each."""

    def deliver(self, delivery: Delivery) -> bool:
        done = time.thread_time() + 0.001
        while time.thread_time() < done:
            pass
        return True


class EndingTests(RedisCase):
    is_patient = True

    async def test_what_was_published_before_the_end_is_still_said(self) -> None:
        here, there = await self.instance(), await self.instance()
        for n in range(1, 201):
            here.lane.publish(said(n, "x" * 10_000))
        await here.lane.stopService()
        await self.until(lambda: len(there.ear.heard) == 200)

    async def test_afterwards_it_is_local(self) -> None:
        here, there = await self.instance(), await self.instance()
        ending = here.lane.stopService()
        here.lane.publish(said(1))
        await ending
        here.lane.publish(said(2))
        self.assertEqual((here.ear.contents, here.seen.drops, here.lane.scope), ([1, 2], 2, "instance"))
        await there.lane.stopService()
        self.assertEqual(there.ear.heard, [])

    async def test_it_may_end_while_it_starts(self) -> None:
        """Trial looks for what is left."""
        for turns in range(12):
            starting = self.make()
            started = starting.lane.startService()
            for _ in range(turns):
                await deferLater(reactor, 0)
            await starting.lane.stopService()
            await started


class BurdenTests(RedisCase):
    async def test_a_large_message_does_not_hold_the_reactor(self) -> None:
        here, there = await self.instance(), await self.instance()
        there.lane._dispatcher.subscribe("**", SlowEar())
        most, running = 0, True

        def turn(delivered_before: int) -> None:
            nonlocal most
            delivered = len(there.ear.heard)
            most = max(most, delivered - delivered_before)
            if running:
                reactor.callLater(0, turn, delivered)  # type: ignore[attr-defined]

        turn(0)
        for n in range(1, 501):
            here.lane.publish(said(n))  # all in one message
        await self.until(lambda: len(there.ear.heard) == 500)
        running = False
        await deferLater(reactor, 0.01)
        self.assertEqual(there.ear.contents, list(range(1, 501)))
        # Deliveries in one turn of the reactor, of a millisecond each (docs/guarantees.md#g9-isolation).
        self.assertLess(most, 50)

    async def test_an_instance_that_is_behind_is_not_taken_for_a_dead_redis(self) -> None:
        here, there = await self.instance(), await self.instance()
        there.lane._dispatcher.subscribe("**", SlowEar())
        subscription = there.lane._subscriber_connection.protocol
        for n in range(1, 3001):  # three seconds of work
            here.lane.publish(said(n))
            if n % 100 == 0:
                await deferLater(reactor, 0)
        waiting: list[int] = []

        def heard() -> bool:
            waiting.append(len(there.lane._incoming))
            return len(there.ear.heard) == 3000

        await self.until(heard)
        # What one read of the socket can hold; the rest is Redis's to keep.
        self.assertLess(max(waiting), 1500)
        self.assertEqual(there.ear.contents, list(range(1, 3001)))
        self.assertIs(there.lane._subscriber_connection.protocol, subscription)
        self.assertTrue(there.lane.up)


class FaultTests(RedisCase):
    def use_server(self) -> Redis:
        server = Redis("user mute on >pw +@all -publish allkeys allchannels")
        self.addCleanup(server.stop)
        return server

    async def test_what_is_lost_on_its_way_is_counted(self) -> None:
        here = await self.instance()
        for n in range(1, 6):
            here.lane.publish(said(n))
        here.lane._command_connection.protocol.transport.abortConnection()
        await self.until(lambda: here.seen.drops == 5)

    @only_by_stopwatch
    async def test_a_probe_has_its_second(self) -> None:
        """A way there and back of 0.6 s is slow, not dead, whenever the connection came about."""
        proxy, under_way = Proxy(self.server.port), []
        proxy.listen()
        self.addCleanup(proxy.stop)
        self.addCleanup(self.until, lambda: not any(call.active() for call in under_way))
        passed = _End.dataReceived

        def slowly(end: _End, data: bytes) -> None:
            under_way.append(reactor.callLater(0.3, passed, end, data))  # type: ignore[attr-defined]

        self.patch(_End, "dataReceived", slowly)
        here = self.make(RedisAddress(HOST, proxy.port))
        await here.lane.startService()
        await self.until(lambda: here.lane.up)
        subscription = here.lane._subscriber_connection.protocol
        await self.until(lambda: len(here.seen.probes) >= 3)
        self.assertIs(here.lane._subscriber_connection.protocol, subscription)

    async def test_a_user_who_may_not_publish_is_told_so(self) -> None:
        await self.refused_instance("NOPERM", RedisAddress(HOST, self.server.port, "mute", "pw"))

    async def test_its_own_echo_is_not_read(self) -> None:
        here = await self.instance()
        body = b'["%s",1,nothing that could be read' % here.lane._instance_id.encode()
        await here.lane._command_connection.protocol.publish(f"{self.prefix}live", KEY.mac(body) + body)
        await here.lane._command_connection.protocol.publish(
            f"{self.prefix}live", encode(KEY, "other", 1, [encode_publication(said(1))])
        )
        await self.until(lambda: here.ear.contents == [1])
        self.assertEqual(here.seen.foreign, 0)
