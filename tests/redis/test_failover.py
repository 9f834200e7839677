"""Failovers of real servers: a Redis that is no longer the one that the others use is noticed, said and left."""

from __future__ import annotations

from typing import Any, Callable

from attrs import define
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import LoopingCall, deferLater
from twisted.protocols.portforward import ProxyFactory
from zope.interface import implementer

from multiproto.core.errors import Unavailable
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.redis.address import RedisAddress
from multiproto.redis.connection import RedisCommandProtocol, RedisConnection
from multiproto.redis.shared_limits import RedisSharedLimits
from tests.proxy import HOST, Proxy
from tests.servers import Redis
from tests.timing import measured

from .cases import Instance, RedisCase, said


class FailoverCase(RedisCase):
    def use_server(self) -> Redis:
        self.other = self.new_server()
        return self.new_server()

    def new_server(self, *options: str) -> Redis:
        server = Redis(*options)
        self.addCleanup(server.stop)
        return server

    async def command(self, server: Redis, *words: object) -> Any:
        client = RedisConnection(RedisAddress.parse(server.url), RedisCommandProtocol, reactor)
        client.start()
        await self.until(lambda: client.protocol)
        answer = await client.protocol.execute_command(*words)
        await client.stop()
        return answer

    async def demote(self) -> None:
        """`self.server` becomes a replica of the other one."""
        await self.command(self.server, "REPLICAOF", HOST, self.other.port)

    async def moving(self) -> tuple[Proxy, RedisAddress]:
        """A name that leads to `self.server`, until the proxy is given another target."""
        proxy = Proxy(self.server.port)
        proxy.listen()
        self.addCleanup(proxy.stop)
        return proxy, RedisAddress(HOST, proxy.port)

    async def reach_each_other(self, here: Instance, there: Instance) -> None:
        await self.until(lambda: here.lane.up and there.lane.up)
        here.lane.publish(said(1, "from here"))
        there.lane.publish(said(2, "from there"))
        for each in (here, there):
            await self.until(
                lambda each=each: {"from here", "from there"} <= set(map(str, each.ear.contents))
            )


class ReplicaTests(FailoverCase):
    async def test_a_redis_that_became_a_replica_is_noticed_and_said_once(self) -> None:
        """One instance was still on it, and called itself healthy."""
        here = await self.instance()
        lines = self.broker_lines()
        await self.demote()
        measured("a replica is noticed", await self.until(lambda: here.lane.scope == "instance"), 5)
        await self.assertFailure(Deferred.fromCoroutine(here.lane.health()), ConnectionError)
        await deferLater(reactor, 1.5)  # type: ignore[arg-type]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn("READONLY", lines[0])
        self.assertFalse(here.lane.up)
        await self.command(self.server, "REPLICAOF", "NO", "ONE")
        measured("a promoted replica is used", await self.until(lambda: here.lane.up), 5)

    async def test_an_address_that_moves_to_the_new_master(self) -> None:
        """As Sentinel does it: the old master becomes a replica of the new one, and the name leads to that."""
        proxy, address = await self.moving()
        here, there = await self.instance(address), await self.instance(RedisAddress.parse(self.other.url))
        await self.demote()
        proxy._target = self.other.port
        await self.until(lambda: not here.lane.up)
        measured("the new master is used", await self.until(lambda: here.lane.up), 5)
        await self.reach_each_other(here, there)

    async def test_a_replica_at_the_start_is_not_used(self) -> None:
        await self.demote()
        await self.refused_instance("READONLY")

    async def test_shared_limits_leave_a_replica(self) -> None:
        proxy, address = await self.moving()
        counts = RedisSharedLimits(address, self.prefix, 60.0, reactor, 5.0)
        counts.startService()
        self.addCleanup(counts.stopService)
        await self.until(lambda: counts.connections)
        replica = counts.client._connection.protocol
        await self.demote()
        proxy._target = self.other.port
        await self.assertFailure(counts.lease("ann", Rate(1, 10), 4), Unavailable)
        await self.until(lambda: counts.client._connection.protocol not in (None, replica))
        self.assertEqual(await counts.lease("ann", Rate(1, 10), 4), (4, 0.0))


class RefusingTests(FailoverCase):
    """A Redis that answers, but not as it must."""

    async def refused(self, why: str, *command: object) -> Instance:
        here = await self.instance()
        await self.command(self.server, *command)
        measured("a Redis that can't be written to is noticed", await self.until(lambda: not here.lane.up), 5)
        await self.until(lambda: why in here.lane._down_reason())
        return here

    async def test_without_memory(self) -> None:
        here = await self.refused("OOM", "CONFIG", "SET", "maxmemory", "1")
        await self.command(self.server, "CONFIG", "SET", "maxmemory", "0")
        measured("a Redis with memory again is used", await self.until(lambda: here.lane.up), 5)

    async def test_without_the_right_to_write(self) -> None:
        await self.refused("NOPERM", "ACL", "SETUSER", Redis.USER, "-set")

    async def test_that_waits_for_replicas(self) -> None:
        await self.refused("NOREPLICAS", "CONFIG", "SET", "min-replicas-to-write", "1")

    async def test_that_pauses(self) -> None:
        here = await self.instance()
        await self.command(self.server, "CLIENT", "PAUSE", "4000", "WRITE")
        measured("a paused Redis is noticed", await self.until(lambda: not here.lane.up), 5)
        await self.until(lambda: here.lane.up)

    async def test_of_a_cluster(self) -> None:
        server = self.new_server("cluster-enabled yes")
        await self.refused_instance("CLUSTERDOWN", RedisAddress.parse(server.url))

    async def test_whose_password_was_changed(self) -> None:
        here = await self.instance()
        await self.command(self.server, "ACL", "SETUSER", Redis.USER, "resetpass", ">another")
        for connection in (here.lane._command_connection, here.lane._subscriber_connection):
            connection.abort()
        await self.until(lambda: "WRONGPASS" in here.lane._down_reason())
        self.assertEqual(here.lane.scope, "instance")


class OtherRedisTests(FailoverCase):
    """Two masters, each of which works: only the log that all share can tell."""

    async def until_canaries(self, holds: Callable[[], bool], *instances: Instance) -> float:
        """Let each write canaries into one log, which all read, until `holds()`."""

        async def write() -> None:
            for each in instances:
                announced = await each.lane.announce()
                for other in instances:
                    other.lane.on_announcement_logged(announced)

        writing = LoopingCall(lambda: Deferred.fromCoroutine(write()))
        ended = writing.start(0.5)
        try:
            return await self.until(holds)
        finally:
            writing.stop()
            await ended

    async def test_instances_on_two_masters_notice_and_meet_once_the_name_leads_to_one(self) -> None:
        proxy, address = await self.moving()
        here, there = await self.instance(address), await self.instance(RedisAddress.parse(self.other.url))
        both = here, there
        apart = await self.until_canaries(lambda: here.lane.scope == there.lane.scope == "instance", *both)
        measured("another Redis is noticed", apart, 5)
        self.assertIn("are on another Redis", here.lane._down_reason())
        proxy._target = self.other.port
        await self.until_canaries(lambda: here.lane.up and there.lane.up, *both)
        await self.reach_each_other(here, there)

    async def test_a_replica_that_was_promoted_beside_its_master(self) -> None:
        """It has all its keys, so that nothing which is kept in Redis could tell them apart."""
        here = await self.instance()
        await self.command(self.other, "REPLICAOF", HOST, self.server.port)
        while "master_link_status:up" not in str(await self.command(self.other, "INFO", "replication")):
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        await self.command(self.other, "REPLICAOF", "NO", "ONE")
        there = await self.instance(RedisAddress.parse(self.other.url))
        await self.until_canaries(lambda: here.lane.scope == there.lane.scope == "instance", here, there)

    async def test_one_that_is_gone_or_has_no_redis_disturbs_nobody(self) -> None:
        here, there = await self.instance(), await self.instance()
        away = self.make(RedisAddress(HOST, 1))
        await away.lane.startService()
        rounds = 0

        def enough() -> bool:
            nonlocal rounds
            rounds += 1
            return rounds > 600 and here.lane._peers.reached == 1

        await self.until_canaries(enough, here, there, away)
        self.assertEqual((here.lane.up, there.lane.up, away.lane.up), (True, True, False))
        self.assertEqual((here.lane._peers.missing, away.lane._peers.missing), (0, 0))

    async def test_what_is_in_the_log_is_not_trusted_to_have_a_form(self) -> None:
        here = await self.instance()
        for content in (
            None,
            {},
            "x",
            {"instance": 1, "announcement": 2},
            {"instance": "a", "announcement": "b"},
        ):
            here.lane.on_announcement_logged(content)
        self.assertEqual((here.lane._peers.missing, here.lane._peers.reached), (0, 0))


@implementer(IHostnameResolver)
@define(eq=False)
class Names:
    """Resolves every name to the same addresses, in this order."""

    addresses: list[str]

    def resolveHostName(
        self, receiver: Any, hostName: str, portNumber: int = 0, *ignored: object, **options: object
    ) -> Any:
        receiver.resolutionBegan(self)
        for address in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", address, portNumber))
        receiver.resolutionComplete()
        return receiver


class NameTests(FailoverCase):
    async def test_a_name_that_resolves_to_another_address(self) -> None:
        """It is looked up again for each connection."""
        names = Names([HOST])
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(names))  # type: ignore[attr-defined]
        elsewhere = reactor.listenTCP(  # type: ignore[attr-defined]
            self.server.port, ProxyFactory(HOST, self.other.port), interface="127.0.0.2"
        )
        self.addCleanup(elsewhere.stopListening)
        here = await self.instance(RedisAddress("redis.example", self.server.port))
        there = await self.instance(RedisAddress.parse(self.other.url))
        self.assertTrue(here.lane.up)
        names.addresses = ["127.0.0.2"]
        self.server.kill()
        await self.until(lambda: not here.lane.up)
        measured("a name that leads elsewhere is followed", await self.until(lambda: here.lane.up), 5)
        await self.reach_each_other(here, there)
        await here.lane.stopService()

    async def test_a_name_whose_first_addresses_lead_to_a_replica_and_to_nobody(self) -> None:
        """Each attempt takes the next of its addresses."""
        names = Names([HOST, "127.0.0.3", "127.0.0.2"])
        self.addCleanup(reactor.installNameResolver, reactor.installNameResolver(names))  # type: ignore[attr-defined]
        await self.demote()
        elsewhere = reactor.listenTCP(  # type: ignore[attr-defined]
            self.server.port, ProxyFactory(HOST, self.other.port), interface="127.0.0.2"
        )
        self.addCleanup(elsewhere.stopListening)
        here = await self.instance(RedisAddress("redis.example", self.server.port))
        there = await self.instance(RedisAddress.parse(self.other.url))
        await self.reach_each_other(here, there)
        await here.lane.stopService()
