"""`python -m tests.system.overload`: do well-behaved clients notice a thousand slow readers and a storm of logins?

On one server with the limits that it comes with: `alone`, the well-behaved
clients and nobody else; then by turns `quiet`, with a crowd of subscribers that
read what they are sent, and `storm`, when they have stopped reading and hundreds
of logins a second come from as many addresses.  What tells is the ratio of storm
to quiet; the rest is the machine's.  Exits with 1 when a bound is passed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from ...ledger.http import Http
from ...ledger.server import ROOT, Server
from . import behaved

Times = dict[str, list[float]]  # seconds that each answer took, by the kind of client

WORST = 3.0  # times the quiet p99
# What one slow reader may cost at most, in bytes: 64 KiB and one delivery in its transport, a place in
# its outbox for each of a thousand deliveries (which all readers share), and what the session itself is.
EACH = 256 * 1024
SETTINGS = {  # the limits are those that the server comes with, save for requests: two clients make hundreds
    "BCRYPT_ROUNDS": "10",
    "CONNECT_RATE": "50/s burst 200",
    "COMMAND_RATE": "1000/s burst 2000",
    "PUBLISH_RATE": "500/s burst 1000",
    "CREDENTIAL_PUBLISH_RATE": "400/s burst 800",
    "BYTE_RATE": "8388608/s burst 16777216",
    "LOG_LEVEL": "warn",
}


def percentile(times: Sequence[float], share: float) -> float:
    """In milliseconds."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def register(port: int, name: str) -> str:
    """A user's token."""
    http = Http(port)
    account = {"email": f"{name}@example.org", "name": name, "password": "Passw0rd!"}
    assert http.ask("POST", "/api/v1/auth/register", account).status == 201
    return str(http.ask("POST", "/api/v1/auth/login", account).body["data"]["token"])


def resident(pid: int) -> int:
    """Bytes of memory that the process has now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(pid)


@frozen
class Work:
    """Of the server's main thread, the reactor's, in seconds."""

    done: float
    kept_waiting: float  # ready, but another had the core

    @classmethod
    def of(cls, pid: int) -> Work:
        done, waiting, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
        return cls(int(done) / 1e9, int(waiting) / 1e9)

    def since(self, earlier: Work, seconds: float) -> str:
        done, waiting = self.done - earlier.done, self.kept_waiting - earlier.kept_waiting
        return f"reactor {done / seconds:4.0%} of a core, kept waiting for one {waiting / seconds:4.0%}"


class Crowd:
    """The load, in a process of its own."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.overload.crowd", json.dumps(plan)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the crowd did not come together")
        return json.loads(line)

    def order(self, word: str) -> Any:
        print(word, file=self._process.stdin, flush=True)
        return self.answer()

    def leave(self) -> None:
        self._process.kill()
        self._process.wait()


async def measure(reactor: Any, server: Server, token: str, arguments: Any) -> Times:
    """Seconds that each waited, by kind of client."""
    clients = await behaved.gather(server.ports, token, arguments.clients)
    await deferLater(reactor, 0.5)
    for client in (each for kind in clients.values() for each in kind):
        client.times.clear()
    await deferLater(reactor, arguments.seconds)
    found = {kind: [time for each in those for time in each.times] for kind, those in clients.items()}
    for client in (each for kind in clients.values() for each in kind):
        client.leave()
    return found


def tell(phase: str, found: Times, memory: int, work: str) -> None:
    """Where the reactor is kept waiting for long, the figures are the machine's."""
    for kind, times in found.items():
        told = f"p50 {percentile(times, 0.5):7.2f} ms   p99 {percentile(times, 0.99):7.2f} ms"
        server = f"RSS {memory / 2**20:6.1f} MiB   {work}"
        print(f"{phase:6} {kind:5} {len(times):6} answers   {told}   {server}", flush=True)


def verdict(rounds: list[dict[str, Times]], alone: Times, memory: dict[str, int], readers: int) -> bool:
    """Whether all bounds held; of several rounds, the one in the middle counts."""
    good = True
    for kind in alone:
        p99 = {name: [percentile(found[name][kind], 0.99) for found in rounds] for name in ("quiet", "storm")}
        ratios = [storm / quiet for quiet, storm in zip(p99["quiet"], p99["storm"])]
        good = good and median(ratios) <= WORST
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        by_alone = median(p99["storm"]) / percentile(alone[kind], 0.99)
        print(
            f"{kind}: p99 under storm is {shown} times that of quiet (bound {WORST:.0f}); {by_alone:.1f} times alone"
        )
    bound = memory["alone"] + readers * EACH
    print(f"RSS under storm: {memory['storm'] / 2**20:.1f} MiB (bound {bound / 2**20:.1f})")
    return good and memory["storm"] <= bound


@define(eq=False)
class Run:
    """One server, and who comes to it."""

    reactor: Any
    server: Server
    arguments: Any
    memory: dict[str, int] = field(factory=dict, init=False)

    async def phase(self, name: str, token: str) -> Times:
        process = self.server._process
        assert process is not None
        begun, earlier = time.monotonic(), Work.of(process.pid)
        found = await measure(self.reactor, self.server, token, self.arguments)
        work = Work.of(process.pid).since(earlier, time.monotonic() - begun)
        self.memory[name] = max(resident(process.pid), self.memory.get(name, 0))
        tell(name, found, self.memory[name], work)
        return found

    async def all(self) -> bool:
        arguments, ports = self.arguments, self.server.ports
        token, listener, flooder = (register(ports.http, name) for name in ("Ann", "Bob", "Cay"))
        alone = await self.phase("alone", token)
        plan = {
            "ports": [ports.http, ports.tcp, ports.metrics],
            "token": listener,
            "flooder": flooder,
            "readers": arguments.readers,
            "floods": arguments.floods,
            "logins": arguments.logins,
        }
        crowd, rounds = Crowd(plan), []
        try:
            for _ in range(arguments.rounds):
                quiet = await self.phase("quiet", token)
                crowd.order("stop")
                crowd.order("storm")
                await deferLater(self.reactor, 2.0)
                rounds.append({"quiet": quiet, "storm": await self.phase("storm", token)})
                crowd.order("calm")
                print("crowd:", crowd.order("read"))
                await deferLater(self.reactor, 4.0)  # what waits is hashed, what was held back is read
        finally:
            crowd.leave()
        return verdict(rounds, alone, self.memory, arguments.readers)


async def main(reactor: Any, arguments: Any) -> None:
    with tempfile.TemporaryDirectory(prefix="storm-") as directory:
        server = Server(Path(directory), settings=SETTINGS)
        server.start()
        try:
            good = await Run(reactor, server, arguments).all()
        finally:
            server.stop()
    if not good:
        raise SystemExit(1)


def arguments() -> Any:
    parser = argparse.ArgumentParser(
        prog="python -m tests.system.overload", description=__doc__.split("\n")[0]
    )  # type: ignore[union-attr]
    parser.add_argument("--readers", type=int, default=1000, help="subscribers that stop reading")
    parser.add_argument("--clients", type=int, default=8, help="well-behaved ones of each kind")
    parser.add_argument("--rounds", type=int, default=3, help="of quiet and storm, by turns")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument(
        "--floods", type=float, default=5.0, help="publications a second that all readers hear"
    )
    parser.add_argument("--logins", type=float, default=200.0, help="attempts a second")
    return parser.parse_args()


if __name__ == "__main__":
    found = arguments()
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, found)))
