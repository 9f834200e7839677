"""A run: users with a connection of each protocol on one instance lose their rights on the other, under load.

Each ending takes all six connections of one user at once.  Some users go
through it at a time, and the load goes on all the while.
"""

from __future__ import annotations

import argparse
from itertools import count
from typing import Any, Sequence

from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from tests.live.clients import Address, Rest, WebSocket

from .endings import ENDINGS, PASSWORD, Rights, done
from .fleet import KEPT, Fleet
from .judge import PROTOCOLS, Record, faults, table
from .mutants import keeps_connections, keeps_tokens
from .victims import OPEN, Victim, begun, now

WARM = 0.5  # seconds that victims are given something, before they lose their rights
WATCHED = 1.5  # seconds that they are watched from the answer on; a promise is broken in the last third
AT_ONCE = 3  # users of each kind of ending that go through it together
PATIENCE = 10.0  # seconds until a connection must have ended, so that a run ends
MUTANTS = (keeps_connections, keeps_tokens)


@define(eq=False)
class Load:
    """Somebody who publishes all the while, on both instances; each publication says when it was sent."""

    _sockets: list[WebSocket] = field(factory=list)
    _work: list[Deferred[None]] = field(factory=list)
    _going: bool = True

    async def begin(self, fleet: Fleet) -> None:
        fields = {"email": "herald@example.org", "name": "Herald", "password": PASSWORD}
        await done(201, Rest(fleet.here).ask("POST", "/api/v1/auth/register", fields))
        token = (await done(200, Rest(fleet.here).ask("POST", "/api/v1/auth/login", fields)))["token"]
        there, here = [await self._open(each, token) for each in (fleet.there, fleet.here)]
        # Live, where the victims are; live from the other instance, if Redis carries it; and logged.
        for socket, topic, pace in ((there, "load.near", 0.05), (here, "load.far", 0.1), (here, KEPT, 0.2)):
            self._work.append(begun(self._publish(socket, topic, pace)))

    async def _open(self, address: Address, token: str) -> WebSocket:
        socket = await WebSocket.open(address)
        assert (await socket.ask(type="auth", token=token))["type"] == "auth_success"
        self._sockets.append(socket)
        return socket

    async def _publish(self, socket: WebSocket, topic: str, pace: float) -> None:
        while self._going:
            socket.say(type="message", topic=topic, data={"at": now()})
            await deferLater(reactor, pace)  # type: ignore[arg-type]

    async def end(self) -> None:
        self._going = False
        await gatherResults(self._work)
        for socket in self._sockets:
            await socket.close()


@define(eq=False)
class Run:
    """Between `start` and `stop`, there may be several `rounds`."""

    fleet: Fleet
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
        await _moment(WARM)
        if blind:
            self.fleet.blind()
        await _all([self._end(ending, *case) for ending, case in zip(endings, cases)])
        await _moment(WATCHED)
        if blind:
            self.fleet.see()
        await _all([self._leave(victims) for _, victims in cases])

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

    async def _leave(self, victims: Sequence[Victim]) -> None:
        """When all have ended; whoever has not after some time is a fault, and the run goes on."""
        give_up = now() + (PATIENCE if not self.fleet.mutants else 0.0)
        while any(victim.record.closed is None for victim in victims) and now() < give_up:
            await _moment(0.02)
        for victim in victims:
            await victim.leave()


async def _all(work: Sequence[Any]) -> Any:
    return await gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)


async def _moment(seconds: float) -> None:
    await deferLater(reactor, seconds)  # type: ignore[arg-type]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.system.revocation", description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="of each kind of ending [8]")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help=f"of each kind together [{AT_ONCE}]")
    parser.add_argument("--without", choices=("redis",), help="the instances have no Redis between them")
    parser.add_argument("--blind", action="store_true", help="one of them can't see the log meanwhile")
    parser.add_argument("--mutant", action="append", default=[], choices=[each.__name__ for each in MUTANTS])
    wanted = parser.parse_args(arguments)
    found: list[str] = []

    async def judged() -> None:
        run = Run(Fleet(wanted.without is None, wanted.mutant))
        try:
            await run.start()
            records = await run.rounds(wanted.rounds, wanted.at_once, wanted.blind)
        finally:
            await run.stop()
        found.extend(faults(records))
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
