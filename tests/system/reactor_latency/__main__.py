"""`python -m tests.system.reactor_latency`: what holds the reactor, and for how long?

One real server, and one thing after the other that might: each is told with the
longest turn of the reactor that it caused.  Exits with 1 when a turn took more
CPU than its bound.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any, Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react
from twisted.internet.threads import deferToThread

from ...ledger.http import Http
from ...ledger.server import LOGGED, Server
from ...tcp.wire import frame
from ...timing import RESCUE
from ..overload.logins import Storm
from ..overload.readers import TOPIC, Reader, gather
from . import bombs
from .device import Device
from .spy import FILE

MOST = 0.25  # seconds of CPU that a turn may take
FAN_OUT = 0.05  # the same while a burst goes out to many
PRUNED = "pruned"  # first word of topics that are hardly kept
SETTINGS = {
    "BCRYPT_ROUNDS": "10",
    "NAMESPACES": json.dumps([{"match": f"{LOGGED}.**"}, {"match": f"{PRUNED}.**", "retention": "1s"}]),
    "TCP_MAX_CONNECTIONS_PER_IP": "5000",
    "WEBSOCKET_MAX_CONNECTIONS_PER_IP": "5000",
    "LOG_LEVEL": "warn",
}
BEFORE = "from tests.system.reactor_latency import spy; spy.watch(); from multiproto.log import pruner; pruner.INTERVAL = 2.0; "


@define(eq=False)
class Run:
    """One server, and what is done to it."""

    reactor: Any
    server: Server
    notes: Path
    arguments: Any
    token: str = ""
    readers: list[Reader] = field(factory=list, init=False)
    devices: list[Device] = field(factory=list, init=False)
    good: bool = field(default=True, init=False)
    _read: int = field(default=0, init=False)  # lines of the notes

    async def all(self) -> bool:
        self.token = self.user("Ann")
        await self.see("a storm of logins", self.logins, MOST)
        await self.see("GraphQL bombs", self.graphql, MOST)
        await self.see("large and deep bodies", self.bodies, MOST)
        await self.see("many subscriptions", self.subscriptions, MOST)
        await self.see("a log that is pruned", self.prune, MOST)
        await self.see("many who catch up", self.catch_up, MOST)
        await self.see("many who come", self.come, MOST)
        await self.see("a burst to many", self.burst, FAN_OUT)
        await self.see("a burst to many, from the log", self.logged_burst, FAN_OUT)
        await self.see("many who leave", self.leave, MOST)
        await self.see("many whose session ends", self.log_out, MOST)
        return self.good

    async def see(self, name: str, what: Callable[[], Awaitable[None]], most: float) -> None:
        """Do it, wait until it has passed, and tell of the longest turn since."""
        self.longest()
        await what()
        await deferLater(self.reactor, 1.0)
        longest, spent_on = self.longest()
        self.good = self.good and longest <= most
        verdict = "" if longest <= most else f"   more than {most * 1000:.0f} ms!"
        print(f"{name:32} longest turn {longest * 1000:6.1f} ms   {spent_on}{verdict}", flush=True)

    def longest(self) -> tuple[float, str]:
        """Of the turns since this was asked before."""
        notes = [json.loads(line) for line in self.notes.read_text().splitlines()[self._read :]]
        self._read += len(notes)
        worst = max(notes, key=lambda note: note["turn"], default={"turn": 0.0, "longest": 0.0, "what": ""})
        return worst["turn"], f"{worst['what']} {worst['longest'] * 1000:.1f} ms" if worst["what"] else ""

    def user(self, name: str) -> str:
        """A token of a new one."""
        http = Http(self.server.ports.http)
        account = {"email": f"{name}@example.org", "name": name, "password": "Passw0rd!"}
        assert http.ask("POST", "/api/v1/auth/register", account).status == 201
        return str(http.ask("POST", "/api/v1/auth/login", account).body["data"]["token"])

    # What might hold it.

    async def logins(self) -> None:
        storm = Storm(self.server.ports.http)
        await gatherResults([Deferred.fromCoroutine(storm.attempt()) for _ in range(200)])

    async def graphql(self) -> None:
        await deferToThread(bombs.graphql, self.server.ports.http, self.token)

    async def bodies(self) -> None:
        await deferToThread(bombs.bodies, self.server.ports.http, self.token)

    async def subscriptions(self) -> None:
        """As many as one connection may have, of the patterns that match most."""
        device = await Device.open(self.server.ports.tcp, self.token)
        for number in range(100):
            device.say(frame(0x10, topic=f"**.{number}.*.**.x{number}"))
        for number in range(500):
            device.say(frame(0x20, topic=".".join(["a"] * 20), content=number, id=f"p{number}"))
        await device.heard(b'"p499"')
        device.leave()

    async def publish(self, topic: str, count: int) -> None:
        """All that `count` publications, sent as fast as they are taken, make happen."""
        device = await Device.open(self.server.ports.tcp, self.token)
        for number in range(count):
            device.say(frame(0x20, topic=topic, content={"n": number, "text": "x" * 60}, id=f"p{number}."))
        await device.heard(f'"p{count - 1}."'.encode())
        device.leave()

    async def prune(self) -> None:
        await self.publish(f"{PRUNED}.a", self.arguments.events)
        await deferLater(self.reactor, 4.0)

    async def catch_up(self) -> None:
        before = Http(self.server.ports.http, self.token).ask(
            "POST", f"/api/v1/topics/{LOGGED}.c", {"data": 0}
        )
        cursor = before.body["cursor"]
        await self.publish(f"{LOGGED}.c", self.arguments.events // 10)
        devices = [
            await Device.open(self.server.ports.tcp, self.token) for _ in range(self.arguments.readers)
        ]
        for device in devices:
            device.say(frame(0x10, topic=f"{LOGGED}.**", after=cursor))
        await gatherResults([device.heard(b"\x14{") for device in devices])
        for device in devices:
            device.leave()

    async def come(self) -> None:
        self.readers = await gather(self.server.ports, self.token, self.arguments.readers, 200)

    async def burst(self) -> None:
        await self.publish(TOPIC, 50)
        await deferLater(self.reactor, 1.0)

    async def logged_burst(self) -> None:
        self.devices = [
            await Device.open(self.server.ports.tcp, self.token) for _ in range(self.arguments.readers)
        ]
        for device in self.devices:
            device.say(frame(0x10, topic=f"{LOGGED}.burst"))
        await deferLater(self.reactor, 1.0)
        self.longest()
        await self.publish(f"{LOGGED}.burst", 50)

    async def leave(self) -> None:
        for device in self.devices:
            device.leave()

    async def log_out(self) -> None:
        answer = await deferToThread(
            Http(self.server.ports.http, self.token).ask, "POST", "/api/v1/auth/logout-all"
        )
        assert answer.status == 204, answer
        give_up = self.reactor.seconds() + RESCUE
        while self.reactor.seconds() < give_up:  # who does not answer a farewell is cut after a while
            if all(reader.gone or reader.last.endswith(b"\r\n0\r\n\r\n") for reader in self.readers):
                return
            await deferLater(self.reactor, 0.1)
        raise AssertionError("readers are still there")


async def main(reactor: Any, arguments: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="stalls-") as directory:
        notes = Path(directory) / "notes"
        notes.touch()
        server = Server(Path(directory), settings=SETTINGS | {FILE: str(notes)}, before=BEFORE)
        server.start()
        try:
            good = await Run(reactor, server, notes, arguments).all()
        finally:
            server.stop()
    if not good:
        raise SystemExit(1)


def arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.reactor_latency", description=__doc__.split("\n")[0]
    )  # type: ignore[union-attr]
    parser.add_argument("--readers", type=int, default=1000, help="connections of each crowd")
    parser.add_argument(
        "--events", type=int, default=20_000, help="that are pruned; a tenth is caught up with"
    )
    return parser.parse_args()


if __name__ == "__main__":
    found = arguments()
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, found)))
