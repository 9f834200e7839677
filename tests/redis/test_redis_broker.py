"""The live lane between instances, on a real Redis and on what can become of it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.broker.redis_codec import BrokerMacKey, encode, encode_publication
from multiproto.core.ratelimit.token_bucket import Rate
from multiproto.redis.address import RedisAddress
from multiproto.redis.connection import RedisCommandProtocol, RedisConnection
from multiproto.redis.shared_limits import RedisSharedLimits
from tests.certificates import make
from tests.proxy import HOST, Proxy
from tests.servers import Redis
from tests.timing import RESCUE, measured

from .cases import KEY, RedisCase, said


class TogetherTests(RedisCase):
    is_patient = True

    async def test_what_one_publishes_all_hear_in_its_order_and_itself_once(self) -> None:
        here, there = await self.instance(), await self.instance()
        for n in range(1, 10_001):
            here.lane.publish(said(n))
            if n % 500 == 0:
                await deferLater(reactor, 0)
        await self.until(lambda: len(there.ear.heard) == 10_000)
        self.assertEqual(there.ear.contents, list(range(1, 10_001)))
        self.assertEqual(here.ear.contents, there.ear.contents)
        self.assertEqual(here.ear.heard[0], there.ear.heard[0])
        self.assertEqual((here.seen.drops, here.lane.scope, there.lane.scope), (0, None, None))

    async def test_large_ones_and_any_text(self) -> None:
        here, there = await self.instance(), await self.instance()
        contents = ["x" * 1_000_000, {"\0é\u2028🂡": [1.5, None, "42", 2**53 + 1]}, "1e5"]
        for number, content in enumerate(contents):
            here.lane.publish(said(number, content))
        await self.until(lambda: len(there.ear.heard) == 3)
        self.assertEqual(there.ear.contents, contents)

    async def test_instances_with_another_prefix_or_key_hear_nothing(self) -> None:
        here, there = await self.instance(), await self.instance()
        stranger = await self.instance(key=BrokerMacKey.from_secret("another secret of thirty-two chars"))
        self.prefix = "elsewhere:"
        away = await self.instance()
        here.lane.publish(said(1))
        await self.until(lambda: there.ear.heard and stranger.seen.foreign)
        self.assertEqual((stranger.ear.heard, away.ear.heard), ([], []))


class HostileTests(RedisCase):
    async def test_what_others_write_into_the_channel_does_nothing(self) -> None:
        """No crash, no forged identity, nothing heard twice."""
        here, there = await self.instance(), await self.instance()
        here.lane.publish(said(1))
        await self.until(lambda: there.ear.heard)
        live = f"{self.prefix}live"
        again = encode(KEY, here.lane._instance_id, 1, [encode_publication(said(1))])
        forged = b"\0" * 16 + again[16:]
        for payload in (b"", b"\xff\xfe", b"{}", forged, again, b"42", b"x" * 100_000):
            await self.say(live, payload)
        here.lane.publish(said(2))
        await self.until(lambda: len(there.ear.heard) == 2)
        self.assertEqual((there.ear.contents, there.seen.foreign), ([1, 2], 6))

    async def test_a_made_up_probe_does_not_count(self) -> None:
        here = await self.instance()
        probes = len(here.seen.probes)
        await self.say(f"{self.prefix}probe:{here.lane._instance_id}", b"mine")
        await self.until(lambda: len(here.seen.probes) > probes)
        self.assertTrue(here.lane.up)

    async def say(self, channel: str, payload: bytes) -> None:
        client = RedisConnection(RedisAddress.parse(self.server.url), RedisCommandProtocol, reactor)
        client.start()
        await self.until(lambda: client.protocol)
        await client.protocol.publish(channel, payload)
        await client.stop()


class AwayTests(RedisCase):
    """The live lane is local meanwhile, says so, and comes back by itself.

    docs/guarantees.md#g10-degrade-do-not-die
    """

    def use_server(self) -> Redis:
        server = Redis()
        self.addCleanup(server.stop)
        return server

    async def test_a_killed_redis(self) -> None:
        here, there = await self.instance(), await self.instance()
        for turn in range(3):
            self.server.kill()
            took = await self.until(lambda: here.lane.scope == there.lane.scope == "instance")
            measured("a killed Redis is noticed", took, 2)
            here.lane.publish(said(10 * turn + 1))
            self.server.start()
            measured(
                "a Redis that is back is used", await self.until(lambda: here.lane.up and there.lane.up), 3
            )
            here.lane.publish(said(10 * turn + 2))
            await self.until(lambda: there.ear.contents[-1:] == here.ear.contents[-1:])
        self.assertEqual(here.ear.contents, [1, 2, 11, 12, 21, 22])
        self.assertEqual(there.ear.contents, [2, 12, 22])

    async def test_only_the_subscription_is_killed(self) -> None:
        here, there = await self.instance(), await self.instance()
        await here.lane._command_connection.protocol.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await self.until(lambda: not there.lane.up)
        measured(
            "a lost subscription is made anew", await self.until(lambda: here.lane.up and there.lane.up), 2
        )
        here.lane.publish(said(1))
        await self.until(lambda: there.ear.contents == [1])

    async def test_a_halted_redis(self) -> None:
        here = await self.instance()
        self.server.signal(signal.SIGSTOP)
        measured("a halted Redis is noticed", await self.until(lambda: here.lane.scope == "instance"), 3)
        self.server.signal(signal.SIGCONT)
        measured("a Redis that goes on is used", await self.until(lambda: here.lane.up), 4)

    async def test_flushall_changes_nothing(self) -> None:
        here, there = await self.instance(), await self.instance()
        await here.lane._command_connection.protocol.execute_command("FLUSHALL")
        here.lane.publish(said(1))
        await self.until(lambda: there.ear.contents == [1])
        self.assertTrue(here.lane.up and there.lane.up)

    async def test_a_network_that_swallows_what_is_published_but_answers_pings(self) -> None:
        """The failure that nobody notices: the connection lives, the subscription is dead.

        docs/guarantees.md#g12-ready-means-delivering
        """
        proxy = Proxy(self.server.port)
        proxy.listen()
        self.addCleanup(proxy.stop)
        here = await self.instance(RedisAddress(HOST, proxy.port))
        proxy.on_answer = lambda data: b"" if data.startswith(b"*3\r\n$7\r\nmessage") else data
        lost = await self.until(lambda: here.lane.scope == "instance")
        measured("a deaf subscription is noticed", lost, 3)
        pinging = RedisConnection(RedisAddress(HOST, proxy.port), RedisCommandProtocol, reactor)
        pinging.start()
        await self.until(lambda: pinging.protocol)
        self.assertEqual(await pinging.protocol.ping(), b"PONG")
        await pinging.stop()
        proxy.on_answer = lambda data: data
        measured("a Redis that can be reached again is used", await self.until(lambda: here.lane.up), 3)

    async def test_a_redis_that_is_not_there_at_the_start(self) -> None:
        """It starts all the same, and joins when it can."""
        self.server.kill()
        here = self.make()
        await here.lane.startService()
        self.assertFalse(here.lane.up)
        here.lane.publish(said(1))
        self.assertEqual((here.ear.contents, here.seen.drops), ([1], 1))
        self.server.start()
        measured("a Redis that can be reached again is used", await self.until(lambda: here.lane.up), 3)

    async def test_an_outage_is_told_once_and_its_end_once(self) -> None:
        here = await self.instance()
        lines = self.broker_lines()
        self.server.kill()
        await self.until(lambda: not here.lane.up)
        await deferLater(reactor, 1.5)
        self.server.start()
        await self.until(lambda: here.lane.up)
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("reach only this instance", lines[0])


class AddressTests(RedisCase):
    def use_server(self) -> Redis:
        server = Redis("requirepass s3cret", "user ada on >p:w@d allcommands allkeys allchannels")
        self.addCleanup(server.stop)
        return server

    async def test_a_password_and_a_database(self) -> None:
        await self.instance(RedisAddress.parse(f"redis://:s3cret@{HOST}:{self.server.port}/3"))

    async def test_a_user_with_a_password_of_any_characters(self) -> None:
        await self.instance(RedisAddress.parse(f"redis://ada:p%3Aw%40d@{HOST}:{self.server.port}"))

    async def test_a_wrong_password_is_said_without_it(self) -> None:
        address = RedisAddress.parse(f"redis://ada:wr0ng@{HOST}:{self.server.port}")
        here = await self.refused_instance("WRONGPASS", address)
        self.assertNotIn("wr0ng", here.lane._down_reason() + repr(address) + str(address))


class LeastRightsTests(RedisCase):
    def use_server(self) -> Redis:
        """With the user that the page for operators makes."""
        page = (Path(__file__).parents[2] / "docs/instances.md").read_text()
        (self.rights,) = re.findall(r"^ACL SETUSER (.*)$", page, flags=re.MULTILINE)
        server = Redis(f"user {self.rights}", "user default on >s3cret allcommands allkeys allchannels")
        self.addCleanup(server.stop)
        return server

    async def test_they_are_enough(self) -> None:
        self.prefix = "pubsub:"
        address = RedisAddress.parse(f"redis://multiproto:password@{HOST}:{self.server.port}/1")
        await self.instance(address)
        counts = RedisSharedLimits(address, self.prefix, 60.0, reactor, RESCUE)
        counts.startService()
        self.addCleanup(counts.stopService)
        await self.until(lambda: counts.connections)
        self.assertEqual([(await counts.count("ann"))[0] for _ in range(2)], [1, 2])
        self.assertEqual(await counts.lease("ann", Rate(1, 10), 4), (4, 0.0))

    async def test_none_is_without_use(self) -> None:
        """Every command that is granted was executed, by a server that also forgot its scripts once."""
        self.prefix = "pubsub:"
        user = RedisAddress.parse(f"redis://multiproto:password@{HOST}:{self.server.port}/1")
        here = await self.instance(user)
        counts = RedisSharedLimits(user, self.prefix, 60.0, reactor, RESCUE)
        counts.startService()
        self.addCleanup(counts.stopService)
        await self.until(lambda: counts.connections)
        administrator = RedisAddress.parse(f"redis://:s3cret@{HOST}:{self.server.port}")
        other = RedisConnection(administrator, RedisCommandProtocol, reactor)
        other.start()
        await self.until(lambda: other.protocol)
        await other.protocol.execute_command("SCRIPT", "FLUSH")
        for _ in range(2):
            await counts.count("ann")
            await counts.lease("ann", Rate(1, 10), 4)
        await here.lane.stopService()
        statistics = str(await other.protocol.execute_command("INFO", "commandstats"))
        await other.stop()
        executed = {name.partition("|")[0] for name in re.findall(r"cmdstat_([a-z|]+)", statistics)}
        granted = {name.partition("|")[0] for name in re.findall(r" \+(\S+)", self.rights)}
        self.assertEqual(granted - executed, set())


class TlsTests(RedisCase):
    def use_server(self) -> Redis:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.files = make(directory.absolute(), "localhost")
        server = Redis(
            "port 0",
            "tls-port {port}",
            f"tls-cert-file {self.files.certificate}",
            f"tls-key-file {self.files.key}",
            "tls-auth-clients no",
        )
        self.addCleanup(server.stop)
        return server

    def address(self, host: str, ca_file: Path | None) -> RedisAddress:
        return RedisAddress.parse(f"rediss://{host}:{self.server.port}/0", ca_file)

    async def test_a_server_that_proves_its_name(self) -> None:
        here = await self.instance(self.address("localhost", self.files.authority))
        there = await self.instance(self.address("localhost", self.files.authority))
        here.lane.publish(said(1))
        await self.until(lambda: there.ear.contents == [1])

    async def test_another_name_or_an_unknown_authority(self) -> None:
        for address in (self.address(HOST, self.files.authority), self.address("localhost", None)):
            here = await self.refused_instance("certificate|VerificationError", address)
            await here.lane.stopService()
