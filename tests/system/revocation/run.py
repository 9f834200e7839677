"""A run: users with a connection of each protocol on one instance lose their rights on the other, under load.

Each ending takes all six connections of one user at once.  Some users go
through it at a time, and the load goes on all the while.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, Sequence

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from tests.command_line import make_parser
from tests.live.clients import Address, Rest, WebSocket
from tests.timing import RESCUE

from .endings import ENDINGS, PASSWORD, Rights, done
from .fleet import KEPT, Fleet
from .judge import PROTOCOLS, Record, faults, table
from .mutants import keeps_connections, keeps_tokens
from .victims import OPEN, PATTERN, SAID, Victim, begun, now

WATCHED = 1.5  # seconds for which victims are watched at least, from the answer on, if the clock judges
ATTEMPTS = 5  # publications that an instance must hold back which can't see the log
AT_ONCE = 3  # users of each kind of ending that go through it together
MUTANTS = (keeps_connections, keeps_tokens)
NEAR, FAR = "load.near", "load.far"  # live topics: published on the victims' instance, and on the other


@define(eq=False)
class Load:
    """A user who publishes all the while, on both instances, and listens where the victims are.

    Each publication says when it was sent.
    """

    sent: int = 0  # publications on the victims' instance
    _heard: dict[str, float] = field(factory=dict)  # when what was heard last was sent, by topic
    _topics: set[str] = field(factory=set)  # those that reach the victims' instance
    _sockets: list[WebSocket] = field(factory=list)
    _work: list[Deferred[None]] = field(factory=list)
    _going: bool = True
    _rest: Rest = field(init=False)

    async def begin(self, fleet: Fleet) -> None:
        self._topics = {NEAR, KEPT, FAR} if fleet.with_redis else {NEAR, KEPT}
        fields = {"email": "herald@example.org", "name": "Herald", "password": PASSWORD}
        await done(201, Rest(fleet.here), "POST", "/api/v1/auth/register", fields)
        token = (await done(200, Rest(fleet.here), "POST", "/api/v1/auth/login", fields))["token"]
        self._rest = Rest(fleet.there, token)
        there, here, listener = [
            await self._open(each, token) for each in (fleet.there, fleet.here, fleet.there)
        ]
        listener.inbox.listener = self._note
        listener.say(type="subscribe", topic=PATTERN)
        for socket, topic, pace in ((there, NEAR, 0.05), (here, FAR, 0.1), (here, KEPT, 0.2)):
            self._work.append(begun(self._publish(socket, topic, pace)))

    async def arrived(self, since: float) -> None:
        """Returns when what was sent after `since` has been delivered to the listener, on every topic."""
        await until(lambda: all(self._heard.get(topic, 0.0) > since for topic in self._topics))

    async def refused(self) -> None:
        """Returns when the victims' instance has said that it can't serve now."""
        while (await self._rest.ask("POST", f"/api/v1/topics/{SAID}", {"data": 1}))[0] != 503:
            await _moment(0.05)

    def _note(self, said: Any) -> None:
        if said["type"] == "message":
            self._heard[said["topic"]] = float(said["data"]["at"])

    async def _open(self, address: Address, token: str) -> WebSocket:
        socket = await WebSocket.open(address)
        assert (await socket.ask(type="auth", token=token))["type"] == "auth_success"
        self._sockets.append(socket)
        return socket

    async def _publish(self, socket: WebSocket, topic: str, pace: float) -> None:
        while self._going:
            socket.say(type="message", topic=topic, data={"at": now()})
            self.sent += topic == NEAR
            await _moment(pace)

    async def end(self) -> None:
        self._going = False
        await gatherResults(self._work)
        for socket in self._sockets:
            await socket.close()


@define(eq=False)
class Run:
    """Between `start` and `stop`, there may be several `rounds`."""

    fleet: Fleet
    watched: float = 0.0  # seconds; see `WATCHED`
    _records: list[Record] = field(factory=list)
    _load: Load = field(factory=Load)
    _numbers: Any = field(factory=count)  # of users

    async def rounds(self, rounds: int, at_once: int = AT_ONCE, blind: bool = False) -> list[Record]:
        """Each kind of ending so many times, `at_once` of each together; `blind` while `there` can't see the log."""
        for first in range(0, rounds, at_once):
            await self._together(list(ENDINGS) * min(at_once, rounds - first), blind)
        records, self._records = self._records, []
        return records

    async def start(self) -> None:
        await self.fleet.start()
        await self._load.begin(self.fleet)

    async def stop(self) -> None:
        await self._load.end()
        await self.fleet.stop()

    async def _together(self, endings: Sequence[str], blind: bool) -> None:
        cases = await _all([self._prepare(ending) for ending in endings])
        victims = [victim for _, each in cases for victim in each]
        await until(lambda: all(victim.was_given_something for victim in victims))
        if blind:
            self.fleet.blind()
        await _all([self._end(ending, *case) for ending, case in zip(endings, cases)])
        await self._known(victims, blind)
        await _moment(self.watched)
        if blind:
            attempts = self._load.sent + ATTEMPTS
            await until(lambda: self._load.sent >= attempts)
            self.fleet.see()
        await self._load.arrived(since=now())
        await until(lambda: all(self._is_over(victim.record) for victim in victims))
        for victim in victims:
            await victim.leave()

    async def _prepare(self, ending: str) -> tuple[Rights, list[Victim]]:
        rights = await Rights.of(next(self._numbers), self.fleet.here, ending)
        victims = []
        for protocol in PROTOCOLS:
            record = Record(protocol, ending)
            self._records.append(record)
            victims.append(await OPEN[protocol](self.fleet.there, rights.token, record))
        return rights, victims

    async def _end(self, ending: str, rights: Rights, victims: Sequence[Victim]) -> None:
        await ENDINGS[ending](rights)
        answered = now()
        for victim in victims:
            victim.record.answered = answered

    async def _known(self, victims: Sequence[Victim], blind: bool) -> None:
        """Returns when `there` has said that it has read of all endings, or that it can't serve for it can't read."""
        if blind:
            await self._load.refused()
        else:
            head = self.fleet.head()
            while await self.fleet.position() < head:
                await _moment(0.01)
        for victim in victims:
            victim.record.known = now()

    def _is_over(self, record: Record) -> bool:
        """Whether the server has ended it; one with a fault in it need not."""
        given = bool(self.fleet.mutants) and record.was_given_after_it_was_known
        return given or record.closed is not None


async def _all(work: Sequence[Any]) -> Any:
    return await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)


async def _moment(seconds: float) -> None:
    await deferLater(reactor, seconds)  # type: ignore[arg-type]


async def until(so: Callable[[], bool]) -> None:
    """Returns when it is `so`, which must become so."""
    rescue = now() + RESCUE
    while not so():
        assert now() < rescue, "it did not become so"
        await _moment(0.02)


def main(arguments: Sequence[str]) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of each kind of ending [8]")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"of each kind together [{AT_ONCE}]")
    parser.add_argument("--without", choices=("redis",), help="the instances have no Redis between them")
    parser.add_argument("--blind", action="store_true", help="one of them can't see the log meanwhile")
    parser.add_argument("--mutant", action="append", default=[], choices=[each.__name__ for each in MUTANTS])
    wanted = parser.parse_args(arguments)
    found: list[str] = []

    async def judged() -> None:
        run = Run(Fleet(wanted.without is None, mutants=wanted.mutant), WATCHED)
        try:
            await run.start()
            records = await run.rounds(wanted.rounds, wanted.at_once, wanted.blind)
        finally:
            await run.stop()
        found.extend(faults(records, by_the_clock=True))
        print(table(records))

    try:
        react(lambda reactor: Deferred.fromCoroutine(judged()))
    except SystemExit as ended:
        if ended.code:
            return 1
    for fault in found[:10]:
        print(f"FAULT {fault}")
    print(f"NOT KEPT: {len(found)} faults" if found else "kept")
    return 1 if found else 0
