"""A small storm: some who do not read, some who guess passwords, and those who do nothing wrong.

`python -m tests.system.overload` is the large one, with a stop-watch and many more kinds.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from multiproto.config import Config
from multiproto.core.ratelimit.token_bucket import Rate

from ..ledger.lines import Ports
from .login_storm import ANSWERS, Storm
from .running import LiveCase, Shared
from .slow_readers import TOPIC, gather

READERS = 50  # of all four protocols
BIG = "x" * 200_000  # characters; a few fill the buffers of the system


class StormTests(LiveCase):
    async def asyncSetUp(self) -> None:
        self.ports = Ports(self.address.http, self.address.tcp, self.address.metrics)
        self.ann, self.bob = await self.person("Ann"), await self.person("Bob")

    async def publish(self, topic: str, data: object) -> int:
        status, _ = await self.ann.rest.ask("POST", f"/api/v1/topics/{topic}", {"data": data})
        return status

    async def test_slow_readers_end_and_others_are_served(self) -> None:
        """Whoever takes nothing is ended before it costs more than its share; one who reads misses nothing."""
        readers = await gather(self.ports, self.bob.rest.token or "", READERS)
        self.addCleanup(lambda: [reader.leave() for reader in readers])
        events = await self.bob.rest.events("GET", f"/api/v1/topics/{TOPIC}/events")
        self.addCleanup(events.hang_up)
        self.assertEqual((await events.inbox.next())[0], "subscribed")
        hub: Any = self.server.getServiceNamed("hub")
        self.assertEqual(len({id(session._stats) for session in hub}), 4)
        for reader in readers:
            reader.stop_reading()
        for number in range(45):
            self.assertEqual(await self.publish(TOPIC, [number, BIG]), 202)
            _, told = await events.inbox.next()
            self.assertEqual(told["data"][0], number)
        living = [session for session in hub if not session.farewell]
        self.assertEqual(len(living), 1)
        status, _ = await self.ann.rest.ask("GET", "/api/v1/auth/me")
        self.assertEqual(status, 200)

    async def test_a_storm_of_logins_is_answered_and_the_owner_gets_in(self) -> None:
        """Three hundred at once: wrong, limited or busy, and never without an answer."""
        storm = Storm(self.ports.http)
        await gatherResults([Deferred.fromCoroutine(storm.attempt()) for _ in range(150)])
        self.assertEqual(sum(storm.answers.values()), 150)
        self.assertLessEqual(set(storm.answers), {"wrong", "limited", "busy"})
        self.assertEqual((storm.under_way, ANSWERS[0] in storm.answers), (0, False))
        status, _ = await self.ann.rest.ask("GET", "/api/v1/auth/me")
        self.assertEqual(status, 200)


class ArrivalTests(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, rate_limits=evolve(config.rate_limits, connect_rate=Rate(1 / 3600, 5)))

    async def test_the_limit_and_one_past_it(self) -> None:
        """HTTP, and with it WebSocket, is told 429 before anything is read."""
        storm = Storm(self.address.http, 1)
        await gatherResults([Deferred.fromCoroutine(storm.attempt()) for _ in range(8)])
        self.assertEqual(storm.answers, Counter({"wrong": 5, "limited": 3}))


class SharedRateTests(Shared):
    waits_for_redis = True

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        slow = Rate(1 / 3600, 20)
        return evolve(
            config, rate_limits=evolve(config.rate_limits, publish_rate=slow, credential_publish_rate=None)
        )

    async def test_one_user_on_two_instances(self) -> None:
        """Twenty in all: more by no more than a handful of two that an instance may be owed."""
        ann = await self.person("Ann")
        accepted = 0
        for _ in range(20):
            for address in self.addresses:
                ann.rest.address = address
                status, answer = await ann.rest.ask("POST", "/api/v1/topics/a", {"data": 1})
                accepted += status == 202
                if status != 202:
                    self.check(status, answer)
        self.assertGreaterEqual(accepted, 20)
        self.assertLessEqual(accepted, 24)

    def check(self, status: int, answer: Any) -> None:
        self.assertEqual((status, answer["error"]["code"]), (429, 7))
