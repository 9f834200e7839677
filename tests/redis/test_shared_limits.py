"""Counting on all instances together, on a real Redis and on what can become of it."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import gatherResults

from multiproto.core.errors import Unavailable
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.redis.address import RedisAddress
from multiproto.redis.client import MAX_IN_FLIGHT
from multiproto.redis.connection import RedisCommandProtocol, RedisConnection
from multiproto.redis.shared_limits import RedisSharedLimits
from tests.proxy import HOST, Proxy
from tests.servers import Redis
from tests.timing import RESCUE, measured

from .cases import RedisCase


class CountsCase(RedisCase):
    async def counts(
        self, window: float = 60.0, port: int | None = None, patience: float = RESCUE
    ) -> RedisSharedLimits:
        """Patient, since a busy machine is none of these tests' business."""
        address = RedisAddress(HOST, port or self.server.port)
        counts = RedisSharedLimits(address, self.prefix, window, reactor, patience)
        counts.startService()
        self.addCleanup(lambda: counts.running and counts.stopService())
        await self.until(lambda: counts.connections)
        return counts

    async def redis(self, *command: object) -> Any:
        """What the server itself says."""
        client = RedisConnection(RedisAddress.parse(self.server.url), RedisCommandProtocol, reactor)
        client.start()
        try:
            await self.until(lambda: client.protocol)
            return await client.protocol.execute_command(*command)
        finally:
            await client.stop()

    async def pause(self) -> None:
        """Redis answers nothing that may write, and so no script, until it is told to go on."""
        await self.redis("CLIENT", "PAUSE", 600_000, "WRITE")

    async def refused_at_once(self, counts: RedisSharedLimits) -> None:
        asked = counts.count("ann")
        self.assertTrue(asked.called)
        await self.assertFailure(asked, Unavailable)

    async def refused(self, counts: RedisSharedLimits, key: str = "ann") -> float:
        """Seconds until it says that it can't be asked."""
        begun = time.monotonic()
        try:
            counted = await counts.count(key)
        except Unavailable:
            return time.monotonic() - begun
        raise AssertionError(f"counted {counted}")


class CountingTests(CountsCase):
    async def test_instances_count_together(self) -> None:
        here, there = await self.counts(), await self.counts()
        found = [(await each.count("ann"))[0] for each in (here, there, here, there)]
        self.assertEqual((found, (await here.count("bob"))[0]), ([1, 2, 3, 4], 1))

    async def test_no_two_get_the_same_count(self) -> None:
        lanes = [await self.counts() for _ in range(4)]
        found = await gatherResults([lanes[n % 4].count("ann") for n in range(400)])
        self.assertEqual(sorted(count for count, _ in found), list(range(1, 401)))

    async def test_a_window_ends_so_long_after_its_first(self) -> None:
        counts = await self.counts(window=0.2)
        begun = time.monotonic()
        _, left = await counts.count("ann")
        self.assertTrue(0 < left <= 0.2, left)

        async def ended() -> bool:
            return (await counts.count("ann"))[0] == 1

        while not await ended():  # each of these would put the end off if it were set anew
            self.assertLess(time.monotonic() - begun, RESCUE)
        self.assertGreaterEqual(time.monotonic() - begun, 0.19)

    async def test_nothing_is_kept_beyond_the_window(self) -> None:
        counts = await self.counts()
        await counts.count("bob")
        left = await self.redis("PTTL", f"{self.prefix}rate:bob")
        self.assertTrue(0 < left <= 60_000, left)
        counts = await self.counts(window=0.05)
        await counts.count("ann")
        key = f"{self.prefix}rate:ann".encode()
        begun = time.monotonic()
        while await self.redis("EXISTS", key):
            self.assertLess(time.monotonic() - begun, RESCUE)

    async def test_a_key_that_lost_its_expiry_gets_one(self) -> None:
        counts = await self.counts()
        await self.redis("SET", f"{self.prefix}rate:ann", 7)
        self.assertEqual(await counts.count("ann"), (8, 60.0))
        self.assertGreater(await self.redis("PTTL", f"{self.prefix}rate:ann"), 0)

    async def test_keys_of_any_text(self) -> None:
        counts = await self.counts()
        keys = ["", "2001:db8::/64", "a b\r\nFLUSHALL\r\n", "\0é🂡", "x" * 10_000]
        self.assertEqual([(await counts.count(key))[0] for key in keys], [1] * len(keys))

    async def test_a_forgotten_script_is_told_again(self) -> None:
        counts = await self.counts()
        await counts.count("ann")
        await self.redis("SCRIPT", "FLUSH")
        self.assertEqual([(await counts.count("ann"))[0] for _ in range(2)], [2, 3])

    async def test_all_that_were_forgotten_at_once(self) -> None:
        counts = await self.counts()
        await self.redis("SCRIPT", "FLUSH")
        found = await gatherResults([counts.count("ann") for _ in range(50)])
        self.assertEqual(sorted(count for count, _ in found), list(range(1, 51)))

    async def test_it_is_one_round_trip_from_the_first_on(self) -> None:
        proxy = Proxy(self.server.port)
        proxy.listen()
        self.addCleanup(proxy.stop)
        await self.redis("SCRIPT", "FLUSH")  # what another test has taught it
        counts = await self.counts(port=proxy.port)
        asked: list[bytes] = []

        def noted(data: bytes) -> bytes:
            asked.append(data)
            return data

        proxy.on_request = noted
        await counts.count("ann")
        self.assertEqual([data.split(b"\r\n")[2] for data in asked], [b"EVALSHA"])


class LeaseTests(CountsCase):
    """Buckets, by Redis's own clock."""

    slow = Rate(0.01, 10)  # nothing grows while a test runs

    async def test_a_burst_and_one_past_it(self) -> None:
        here, there = await self.counts(), await self.counts()
        found = [await each.lease("ann", self.slow, 4) for each in (here, there, here)]
        self.assertEqual(found, [(4, 0.0), (4, 0.0), (2, 0.0)])
        granted, wait = await there.lease("ann", self.slow, 4)
        self.assertEqual(granted, 0)
        self.assertTrue(90 < wait <= 100.001, wait)
        self.assertEqual(await here.lease("bob", self.slow, 1), (1, 0.0))

    async def test_no_token_is_given_twice(self) -> None:
        lanes = [await self.counts() for _ in range(4)]
        found = await gatherResults([lanes[n % 4].lease("ann", Rate(0.01, 300), 1) for n in range(400)])
        self.assertEqual(sum(granted for granted, _ in found), 300)

    async def test_it_fills_continuously(self) -> None:
        counts = await self.counts()
        rate = Rate(50, 1)
        begun, granted = time.monotonic(), 0
        while granted < 10:
            granted += (await counts.lease("ann", rate, 1))[0]
        self.assertGreaterEqual(time.monotonic() - begun, 9 / 50 - 0.005)

    async def test_what_is_given_back_is_there_again(self) -> None:
        counts = await self.counts()
        await counts.lease("ann", self.slow, 10)
        self.assertEqual(await counts.lease("ann", self.slow, -1), (-1, 0.0))
        self.assertEqual((await counts.lease("ann", self.slow, 5))[0], 1)
        await counts.lease("ann", self.slow, -100)  # fills no more than a bucket
        self.assertEqual((await counts.lease("ann", self.slow, 100))[0], 10)

    async def test_a_full_bucket_is_forgotten(self) -> None:
        counts = await self.counts()
        await counts.lease("ann", Rate(1000, 10), 10)
        begun = time.monotonic()
        while await self.redis("EXISTS", f"{self.prefix}bucket:ann"):
            self.assertLess(time.monotonic() - begun, RESCUE)

    async def test_a_moment_that_is_too_late_is_not_believed(self) -> None:
        """As when Redis's clock was set back."""
        counts = await self.counts()
        await self.redis("SET", f"{self.prefix}bucket:ann", "99999999999999")
        granted, wait = await counts.lease("ann", self.slow, 1)
        self.assertEqual(granted, 0)
        self.assertLessEqual(wait, 100.001)

    async def test_what_is_no_bucket_is_unavailable_or_full(self) -> None:
        counts = await self.counts()
        await self.redis("SET", f"{self.prefix}bucket:ann", "poison")
        self.assertEqual(await counts.lease("ann", self.slow, 1), (1, 0.0))
        await self.redis("RPUSH", f"{self.prefix}bucket:bob", "poison")
        await self.assertFailure(counts.lease("bob", self.slow, 1), Unavailable)

    async def test_forgotten_scripts_are_told_again_each_its_own(self) -> None:
        counts = await self.counts()
        await self.redis("SCRIPT", "FLUSH")
        self.assertEqual(await counts.lease("ann", self.slow, 1), (1, 0.0))
        self.assertEqual((await counts.count("ann"))[0], 1)


class AwayTests(CountsCase):
    def use_server(self) -> Redis:
        server = Redis()
        self.addCleanup(server.stop)
        return server

    async def test_without_redis_it_says_so_at_once_and_comes_back_by_itself(self) -> None:
        counts = await self.counts()
        await counts.count("ann")
        self.server.kill()
        await self.until(lambda: not counts.connections)
        await self.refused_at_once(counts)
        self.server.start()
        measured("shared limits come back with Redis", await self.until(lambda: counts.connections), 2)
        self.assertEqual((await counts.count("ann"))[0], 1)  # nothing was on the disk

    async def test_a_slow_redis_keeps_the_first_waiting_for_the_patience_and_others_not_at_all(self) -> None:
        counts = await self.counts(patience=0.05)
        await self.pause()
        self.assertGreater(await self.refused(counts), 0.04)
        await self.refused_at_once(counts)
        await self.redis("CLIENT", "UNPAUSE")
        begun = time.monotonic()
        while True:  # it is asked again once it has answered
            try:
                self.assertGreater((await counts.count("bob"))[0], 0)
                break
            except Unavailable:
                self.assertLess(time.monotonic() - begun, RESCUE)
                await self.until(lambda: not counts.client.overdue)
        self.assertEqual(counts.client.in_flight, 0)

    async def test_one_that_never_answers_is_left(self) -> None:
        proxy = Proxy(self.server.port)
        proxy.listen()
        self.addCleanup(proxy.stop)
        counts = await self.counts(port=proxy.port, patience=0.05)
        proxy.silent = True
        await self.refused(counts)
        measured("a Redis that never answers is left", await self.until(lambda: not counts.connections), 2)
        self.assertEqual((counts.client.in_flight, counts.client.overdue), (0, 0))
        proxy.silent = False
        await self.until(lambda: counts.connections)
        self.assertEqual((await counts.count("bob"))[0], 1)

    async def test_what_waits_for_an_answer_is_bounded(self) -> None:
        counts = await self.counts()
        await self.pause()
        asked = [counts.count("ann") for _ in range(MAX_IN_FLIGHT)]
        await self.refused_at_once(counts)
        await self.redis("CLIENT", "UNPAUSE")
        found = await gatherResults(asked)
        self.assertEqual(max(count for count, _ in found), MAX_IN_FLIGHT)

    async def test_a_key_that_is_no_number_and_a_full_redis_are_unavailable(self) -> None:
        counts = await self.counts()
        await self.redis("SET", f"{self.prefix}rate:ann", "poison")
        await self.refused(counts)
        await self.redis("RPUSH", f"{self.prefix}rate:bob", "poison")
        await self.refused(counts, "bob")
        await self.redis("CONFIG", "SET", "maxmemory", 1)
        await self.refused(counts, "carol")
        await self.redis("CONFIG", "SET", "maxmemory", 0)
        self.assertEqual((await counts.count("carol"))[0], 1)

    async def test_those_who_wait_when_it_stops_are_told(self) -> None:
        counts = await self.counts()
        await self.pause()
        asked = counts.count("ann")
        await counts.stopService()
        await self.assertFailure(asked, Unavailable)
        self.assertEqual((counts.connections, counts.client.in_flight), (0, 0))
        await self.refused_at_once(counts)
