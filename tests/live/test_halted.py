"""One of two instances is halted while the other one acknowledges and prunes: its subscribers miss nothing untold."""

from __future__ import annotations

import json
import signal
from typing import Any

import psycopg
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.canary import SECRET
from tests.servers import needs, postgresql

from . import test_twistd
from .clients import Person, Rest, WebSocket
from .test_twistd import Started, TwistdCase

SHOWN_INTERVALS = "from multiproto.log import pruner, instance_positions; pruner.INTERVAL = instance_positions.INTERVAL = 0.5; "
RUN = "from twisted.scripts.twistd import run; run()"
PUBLISHED, KEPT = 200, 10  # events
ROUNDS = 6  # of pruning
WAKING = "instance_positions.ALIVE_FOR = 1; "


@needs("postgresql")
class HaltedCase(TwistdCase):
    patches = ""  # what is changed in the server, as Python

    async def start_both(self) -> None:
        code = "\n".join((SHOWN_INTERVALS, self.patches, RUN))
        self.patch(test_twistd, "TWISTD", ("-c", code, "-n", "--pidfile="))
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)
        self.here, self.there = [await self.start_one() for _ in range(2)]
        self.ann = await Person.register(self.here.address, "ann")
        self.addCleanup(self.ann.leave)

    async def start_one(self) -> Started:
        self.data = self.data.with_name(self.data.name + "x")
        namespaces = [{"match": "kept.**", "most": KEPT}, {"match": "other.**"}]
        return await self.start(
            DATABASE_URL=self.database,
            JWT_SECRET=SECRET,
            NAMESPACES=json.dumps(namespaces),
            PUBLISH_RATE="none",
        ).ready()

    async def listen(self, pattern: str, after: str | None = None) -> tuple[WebSocket, Any]:
        socket = await WebSocket.open(self.there.address)
        self.addCleanup(socket._socket.dropConnection, abort=True)
        await socket.ask(type="auth", token=self.ann.token)
        extra = {} if after is None else {"after": after}
        return socket, await socket.ask(type="subscribe", topic=pattern, **extra)

    async def publish(self, topic: str) -> None:
        """200 events, each until it is acknowledged: who is halted in a transaction holds the others up for 2 s."""
        device = await self.ann.device()
        missing = set(range(PUBLISHED))
        while missing:
            for number in missing:
                device.say(0x20, topic=topic, content=number, id=number)
            for _ in range(len(missing)):
                kind, said = await device.inbox.next()
                if kind == 0x22:
                    missing.discard(int(said["id"]))

    async def halted(self) -> None:
        """The other instance, while 200 events are acknowledged and there is time to prune all but 10."""
        self.there.program.signal(signal.SIGSTOP)
        await self.publish("kept.it")
        await deferLater(reactor, ROUNDS * 0.5)  # type: ignore[arg-type]

    def resume(self) -> None:
        self.there.program.signal(signal.SIGCONT)

    async def pruned(self) -> None:
        while self.kept() > KEPT:
            await deferLater(reactor, 0.1)  # type: ignore[arg-type]

    def kept(self) -> int:
        with psycopg.connect(self.database) as database:
            row = database.execute("SELECT count(*) FROM events WHERE namespace = 'kept.**'").fetchone()
            assert row is not None
            return int(row[0])


class HaltedTests(HaltedCase):
    async def test_for_a_while_it_loses_nothing(self) -> None:
        await self.start_both()
        socket, _ = await self.listen("kept.**")
        await self.halted()
        self.assertEqual(self.kept(), PUBLISHED)
        self.resume()
        heard = [(await socket.inbox.next())["data"] for _ in range(PUBLISHED)]
        self.assertEqual(sorted(heard), list(range(PUBLISHED)))
        await self.pruned()  # now that all have it

    async def test_one_that_has_ended_without_a_word_holds_pruning_for_a_while_only(self) -> None:
        self.patches = WAKING
        await self.start_both()
        await self.there.program.kill()
        await self.publish("kept.it")
        await self.pruned()

    async def test_one_that_has_stopped_holds_nothing(self) -> None:
        await self.start_both()
        self.there.program.signal("TERM")
        await self.there.program.ended
        await self.publish("kept.it")
        await self.pruned()


class IdleTests(HaltedCase):
    """Nothing happens on the connections but their end, and the server has more to do than there is time for."""

    # Whatever is read waits for its turn, and a connection that is not closed in the end stays for ever.
    patches = """
from multiproto.core.turn_scheduler import TurnScheduler
from multiproto.rfc6455.connection import WebSocketConnectionProtocol
from multiproto.tcp.protocol import TcpProtocol

def has_time(scheduler, now, key):
    return scheduler._slice_ends_at is not None and now < scheduler._slice_ends_at

TurnScheduler._has_time_at = has_time
WebSocketConnectionProtocol.abort = TcpProtocol.abort = lambda protocol: None
"""

    async def test_connections_of_every_protocol_end_with_a_session_that_ended_meanwhile(self) -> None:
        await self.start_both()
        idle = Person(self.there.address, Rest(self.there.address, self.ann.token), self.ann.id)
        socket, graphql, device = await idle.websocket(), await idle.graphql_socket(), await idle.device()
        stream = await idle.stream("GET", "/api/v1/topics/kept.**/events")
        self.assertEqual((await stream.inbox.next())[0], "subscribed")
        self.there.program.signal(signal.SIGSTOP)
        self.assertEqual((await self.ann.rest.ask("POST", "/api/v1/auth/logout"))[0], 204)
        self.resume()
        for each in (socket, graphql, device, stream):
            await each.inbox.closed
        await idle.leave()


class HaltedForLongTests(HaltedCase):
    """For so long that it counts as dead: what it has not delivered is pruned."""

    patches = WAKING

    async def test_it_ends_those_who_missed_something_and_they_are_told_when_they_resume(self) -> None:
        await self.start_both()
        socket, subscribed = await self.listen("kept.**")
        await self.halted()
        await self.pruned()
        self.resume()
        await socket.inbox.closed
        self.assertEqual(socket.inbox.rest(), [])
        _, resumed = await self.listen("kept.**", after=subscribed["cursor"])
        self.assertIs(resumed["recovered"], False)

    async def test_those_who_missed_nothing_go_on(self) -> None:
        await self.start_both()
        socket, _ = await self.listen("other.**")
        await self.halted()
        await self.pruned()
        self.resume()
        await self.publish("other.it")
        heard = [(await socket.inbox.next())["data"] for _ in range(PUBLISHED)]
        self.assertEqual(sorted(heard), list(range(PUBLISHED)))
