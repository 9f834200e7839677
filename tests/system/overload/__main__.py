"""`python -m tests.system.overload`: what do well-behaved clients notice of somebody who means harm?

Starts a server with the limits that it comes with, and then one attack after the other, each from an address
of its own and in a process of its own: on one connection, and on as many as one address may have.  Meanwhile
others from 127.0.0.1 GET /health/live every 5 ms, publish to a logged topic every 20 ms, and log in twice a second.

An attack lasts until the server has done all that it left behind.  It is survived when
- the p99 of each of these is at most that of the quiet run + 100 ms, and the longest at most + 250 ms;
- no turn of the event loop took more than 250 ms of CPU;
- the server's memory grew by no more than 48 MiB, and what each connection of this attack may cost;
- all that it left behind was done within 20 s;
- the others lost neither their connection, nor an answer, nor their order, and new ones are let in;
- the attack came about: what it sends was answered as expected.

Times in milliseconds are p50/p99/longest.  `starved` is the share of the time in which the event loop, and those who
measure, were ready and had no core: where it is large, the machine is too busy to say anything.  `disk` is the longest
sync of a file that nobody else writes: what is not survived while the disk itself stands still for 100 ms says nothing
of the server, and is tried again, up to three times.  Attackers run only on
cores that nobody else wants (`attackers`).  Where others are at work, what is run by them must come behind, too: nice levels only count
within a session (sched(7), autogroup), and `echo -15 > /proc/self/autogroup` as root puts that of this shell before them.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, AsyncIterator, Iterable, Iterator

from attrs import asdict, define, evolve, field, frozen

from ...ledger.server import LOGGED, ROOT, Server
from ...tcp.wire import frame
from ...timing import RESCUE
from . import turn_spy
from .attacks import ATTACKS, MIB, PAST, PRUNED, Attack, Target
from .disk_probe import DiskProbe
from .probes import PASSWORD, Probes, Waited
from .requests import HOST, ask, request

P99_MORE, WORST_MORE = 100.0, 250.0  # milliseconds beyond those of the quiet run
DISK_STALL = 100.0  # milliseconds of a sync, beyond which the disk is to blame
ATTEMPTS = 3
LONGEST_TURN = 250.0  # milliseconds of CPU
BASE_MEMORY = 48  # MiB that the process may grow by: what it remembers is bounded, and allocators keep some
PATIENCE = 20.0  # seconds
CALM = 0.4  # seconds without a long turn, after which nothing is left to do for an attack
ACCOUNTS = 20  # of the attackers; half of them change their passwords
SPARE_SESSIONS = 16
PAST_EVENTS = 4000
MESSAGES = 1000
MOST_FAULTS = 6  # that are printed of an attack
SHORT_ROUNDS = 100  # requests, each sent behind the answer to the one before, while a short attack goes on
SETTINGS = {  # the ledger's server has none of the limits that a server comes with
    "NAMESPACES": json.dumps([{"match": f"{LOGGED}.**"}, {"match": f"{PRUNED}.**", "retention": "1s"}]),
    "BCRYPT_ROUNDS": "10",
    "CONNECT_RATE": "50/s burst 200",
    "COMMAND_RATE": "1000/s burst 2000",
    "PUBLISH_RATE": "500/s burst 1000",
    "CREDENTIAL_PUBLISH_RATE": "400/s burst 800",
    "BYTE_RATE": "8388608/s burst 16777216",
    # Thirty times the usual one: an attack of a few seconds is to be one of requests, not of refusals.
    "RATE_LIMIT_MAX": "3000",
    "LOG_LEVEL": "warn",
}
BEFORE = (
    "from tests.system.overload import turn_spy; turn_spy.watch(); "
    "from multiproto.log import pruner; pruner.INTERVAL = 2.0; "
)


@frozen
class Mode:
    attack: Attack
    connections: int

    @property
    def name(self) -> str:
        return f"{self.attack.name} x{self.connections}"

    @property
    def memory(self) -> float:
        """MiB that the server may grow by."""
        return BASE_MEMORY + self.connections * self.attack.memory


def modes(options: Namespace) -> Iterator[Mode]:
    for name in options.only:
        attack = ATTACKS[name]
        if not options.short:
            yield Mode(attack, attack.least)
        yield Mode(attack, attack.most)


@frozen
class Result:
    """What one attack did."""

    mode: Mode
    waited: list[Waited]  # by GET, publish and login
    growth: float  # MiB
    turn: float  # milliseconds of CPU of the longest turn
    turn_of: str
    starved: list[float]  # shares of the time: the server, and those who measure
    disk: float  # milliseconds of the longest sync that has nothing to do with the server
    report: dict[str, Any]  # of the attackers
    faults: list[str]

    @property
    def cells(self) -> list[str]:
        sent = self.report["sent"] / MIB / self.report["seconds"]
        return [
            *map(str, self.waited),
            f"{self.turn:.0f} {self.turn_of.partition('.')[0]}"[:28],
            f"{self.growth:+.0f}",
            f"{sent:.2f}",
            f"{self.report['opened']}/{self.report['lost']}",
            "/".join(f"{share:.0%}" for share in self.starved),
            f"{self.disk:.0f}",
        ]

    @property
    def is_blurred(self) -> bool:
        """Whether what was not survived may be the disk's fault."""
        return bool(self.faults) and self.disk >= DISK_STALL

    @property
    def verdict(self) -> str:
        more = len(self.faults) - MOST_FAULTS
        return "; ".join([*self.faults[:MOST_FAULTS], *([f"{more} more"] if more > 0 else [])]) or "ok"


COLUMNS = ("GET", "publish", "login", "turn", "MiB", "MiB/s", "opened/lost", "starved", "disk")
WIDTHS = (16, 18, 20, 28, 6, 7, 12, 9, 4)


def line(name: str, cells: Iterable[str], verdict: str) -> str:
    return f"{name:30} {' '.join(f'{cell:>{w}}' for cell, w in zip(cells, WIDTHS))}  {verdict}"


def judge(result: Result, quiet: list[Waited]) -> list[str]:
    """The bounds that were passed."""
    faults = []
    for name, usual, found in zip(COLUMNS, quiet, result.waited):
        if found.p99 > usual.p99 + P99_MORE:
            faults.append(f"{name} p99 +{found.p99 - usual.p99:.0f} ms")
        if found.worst > usual.worst + WORST_MORE:
            faults.append(f"{name} longest +{found.worst - usual.worst:.0f} ms")
    if result.turn > LONGEST_TURN:
        faults.append(f"turn of {result.turn:.0f} ms in {result.turn_of}")
    if result.growth > result.mode.memory:
        faults.append(f"memory +{result.growth:.0f} MiB")
    return faults


@define(eq=False)
class Machine:
    """What the kernel knows of the server's process."""

    pid: int
    notes: Path  # of its long turns
    peak: float = field(default=0.0, init=False)
    _read: int = field(default=0, init=False)

    @property
    def resident(self) -> float:
        """MiB."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / MIB

    @property
    def kept_waiting(self) -> list[float]:
        """Seconds that the main threads of the server and of this process were ready and had no core."""
        stats = (Path(f"/proc/{pid}/task/{pid}/schedstat").read_text() for pid in (self.pid, os.getpid()))
        return [int(each.split()[1]) / 1e9 for each in stats]

    async def follow(self) -> None:
        """Keep the peak of the memory."""
        self.peak = self.resident
        while True:
            await asyncio.sleep(0.05)
            self.peak = max(self.peak, self.resident)

    @property
    def long_turns(self) -> int:
        """How many there were so far."""
        return len(self.notes.read_text().splitlines())

    def longest_turn(self) -> tuple[float, str]:
        """Since it was asked before: milliseconds of CPU, and on what they were spent."""
        lines = self.notes.read_text().splitlines()
        notes, self._read = [json.loads(each) for each in lines[self._read :]], len(lines)
        longest = max(notes, key=lambda note: note["turn"], default={"turn": 0.0, "what": ""})
        return longest["turn"] * 1000, longest["what"]


@define(eq=False)
class Run:
    """One server, and all that it has to survive."""

    server: Server
    machine: Machine
    disk: DiskProbe
    options: Namespace
    target: Target = field(init=False)
    token: str = field(init=False)  # of those who measure
    quiet: list[Waited] = field(factory=list, init=False)
    _attacks: int = field(default=0, init=False)
    _logins: Iterator[int] = field(factory=count, init=False)

    @property
    def patience(self) -> float:
        """Seconds to wait for what is missing when an attack ends."""
        return RESCUE if self.options.short else PATIENCE

    async def prepare(self) -> None:
        """Accounts, sessions, a long log and many messages."""
        self.token = await self._account("publisher", 200)
        await self._account("visitor", 201)  # whose oldest session ends with each login beyond a hundred
        tokens = [await self._account(f"attacker{n}", n) for n in range(ACCOUNTS)]
        spares = [await self._log_in("attacker0", f"127.0.3.{100 + n}") for n in range(SPARE_SESSIONS)]
        ports = self.server.ports
        _, first = await ask(ports.http, "POST", f"/api/v1/topics/{PAST}", {"data": 0}, token=self.token)
        self.target = Target(tokens, spares, first["cursor"])
        part = PAST_EVENTS // 5
        await asyncio.gather(*(self._publish(token, part) for token in tokens[5:10]))
        await asyncio.gather(
            *(self._send_messages(tokens[n], f"127.0.3.{n + 1}", MESSAGES // 5) for n in range(5))
        )

    async def _account(self, name: str, number: int) -> str:
        """A token of a new one."""
        source = f"127.0.3.{1 + number}"
        account = {"email": f"{name}@example.org", "name": "Nobody", "password": PASSWORD}
        status, answer = await ask(
            self.server.ports.http, "POST", "/api/v1/auth/register", account, source=source
        )
        assert status == 201, answer
        return await self._log_in(name, source)

    async def _log_in(self, name: str, source: str) -> str:
        body = {"email": f"{name}@example.org", "password": PASSWORD}
        _, answer = await ask(self.server.ports.http, "POST", "/api/v1/auth/login", body, source=source)
        return str(answer["data"]["token"])

    async def _publish(self, token: str, events: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.server.ports.tcp)
        writer.write(frame(0x01, token=token))
        for number in range(events):
            writer.write(frame(0x20, topic=PAST, content={"n": number, "text": "x" * 100}, id=f"n{number}."))
        await reader.readuntil(f'"n{events - 1}."'.encode())
        writer.close()

    async def _send_messages(self, token: str, source: str, messages: int) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.server.ports.http, local_addr=(source, 0))
        for number in range(messages):
            body = json.dumps(
                {"content": f"{number} {os.urandom(250).hex() * 2}", "channelId": "many"}
            ).encode()
            writer.write(request("POST", "/api/v1/messages", body, token))
            assert b" 201 " in await reader.readuntil(b"\r\n\r\n"), number
            await reader.readuntil(b'Z"}')
        writer.close()

    async def be_quiet(self, seconds: float) -> None:
        """What is usual here."""
        probes = await self._probes()
        await asyncio.sleep(seconds)
        await probes.finish(PATIENCE)
        assert not probes.faults, probes.faults
        self.quiet = probes.waited
        print(line("quiet", map(str, self.quiet), ""), flush=True)

    async def attack(self, mode: Mode) -> Result:
        async with self._attackers(mode) as attackers:
            following = asyncio.create_task(self.machine.follow())
            probes, before = await self._probes(), self.machine.resident
            self.machine.longest_turn()
            self.disk.longest()
            waited, started = self.machine.kept_waiting, time.monotonic()
            attackers.stdin.write(b"\n")
            await asyncio.sleep(self.options.seconds)
            if self.options.short:
                await self._enough_rounds(probes)
            elapsed = time.monotonic() - started
            starved = [(now - then) / elapsed for now, then in zip(self.machine.kept_waiting, waited)]
            attackers.stdin.write(b"\n")
            report = json.loads(await attackers.stdout.readline())
        is_calm = self.options.short or await self._calms_down()
        await probes.finish(self.patience)
        following.cancel()
        faults = [*probes.faults, *await self._newcomers()]
        if not is_calm:
            faults.append(f"still at work {PATIENCE:.0f} s later")
        if report["failure"]:
            faults.append(f"the attack failed: {report['failure']}")
        elif mode.attack.answers and not report["answers"]:
            faults.append(f"not answered as expected: {report['last']}")
        turn, turn_of = self.machine.longest_turn()
        growth = self.machine.peak - before
        result = Result(
            mode, probes.waited, growth, turn, turn_of, starved, self.disk.longest(), report, faults
        )
        if not self.options.short:
            faults += judge(result, self.quiet)
        elif probes.health.rounds < SHORT_ROUNDS:
            faults.append(f"only {probes.health.rounds} requests were answered one after the other")
        return result

    async def _probes(self) -> Probes:
        return await Probes.start(self.server.ports, self.token, "visitor@example.org", self._logins)

    async def _enough_rounds(self, probes: Probes) -> None:
        give_up = time.monotonic() + RESCUE
        while probes.health.rounds < SHORT_ROUNDS and time.monotonic() < give_up:
            await asyncio.sleep(0.05)

    async def _calms_down(self) -> bool:
        """Wait until the server has done what the attack has left behind, which is part of it; whether it did in time."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            long_turns = self.machine.long_turns
            await asyncio.sleep(CALM)
            if self.machine.long_turns == long_turns:
                return True
        return False

    async def _newcomers(self) -> list[str]:
        """The faults of one who comes to each port now."""
        faults = []
        for port, path in (
            (self.server.ports.http, "/health/ready"),
            (self.server.ports.metrics, "/metrics/json"),
        ):
            try:
                status, _ = await asyncio.wait_for(ask(port, "GET", path), self.patience)
            except (OSError, ValueError, IndexError, asyncio.TimeoutError) as fault:
                faults.append(f"{path}: {fault!r}")
            else:
                faults += [] if status == 200 else [f"{path} answers {status}"]
        return faults

    @asynccontextmanager
    async def _attackers(self, mode: Mode) -> AsyncIterator[Any]:
        """The process of the attackers, ready to begin."""
        self._attacks += 1
        half = SPARE_SESSIONS // 2  # a session ends but once
        spares = self.target.spare_tokens
        spares = spares[:half] if mode.connections == mode.attack.least else spares[half:]
        plan = {
            "attack": mode.attack.name,
            "connections": mode.connections,
            "ports": asdict(self.server.ports),
            "address": f"127.1.{self._attacks // 250}.{2 + self._attacks % 250}",
            "target": asdict(evolve(self.target, spare_tokens=spares)),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.system.overload.attackers", json.dumps(plan)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n", "the attackers did not start"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def markdown(results: Iterable[Result], quiet: list[Waited]) -> str:
    """The table of docs/operations.md."""
    head = ["attack", "sends", "connections", *COLUMNS[:5], "verdict"]
    rows = [["*quiet*", "", "", *map(str, quiet), "", "", ""]]
    for each in results:
        who = "with a login" if each.mode.attack.login else "without a login"
        verdict = each.verdict.replace("|", "\\|")
        sends = f"{each.mode.attack.sends}; {who}".replace("|", "\\|")
        rows.append(
            [f"`{each.mode.attack.name}`", sends, str(each.mode.connections), *each.cells[:5], verdict]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def machine_text() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}, load average {load}"


async def run(options: Namespace) -> bool:
    """Whether all was survived."""
    with tempfile.TemporaryDirectory(prefix="overload-") as directory:
        notes = Path(directory) / "turns"
        notes.touch()
        disk = DiskProbe(Path(directory))
        server = Server(Path(directory), settings=SETTINGS | {turn_spy.FILE: str(notes)}, before=BEFORE)
        server.start()
        try:
            assert server._process is not None
            print(f"{machine_text()}; server {server._process.pid}", flush=True)
            hostile = Run(server, Machine(server._process.pid, notes), disk, options)
            await hostile.prepare()
            print(line("attack", COLUMNS, "verdict"), flush=True)
            await hostile.be_quiet(min(10.0, 4 * options.seconds))
            results = []
            for mode in modes(options):
                for _ in range(ATTEMPTS):
                    result = await hostile.attack(mode)
                    print(line(mode.name, result.cells, result.verdict), flush=True)
                    if not result.is_blurred:
                        break
                results.append(result)
        finally:
            server.stop()
            disk.stop()
    good = sum(not each.faults for each in results)
    print(f"survived: {good} of {len(results)}, {len(options.only)} kinds; {machine_text()}")
    if options.markdown:
        options.markdown.write_text(markdown(results, hostile.quiet) + "\n")
    return good == len(results)


def arguments() -> Namespace:
    parser = ArgumentParser(
        prog="python -m tests.system.overload",
        allow_abbrev=False,
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these attacks; a part of the name does")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each attack (5)")
    parser.add_argument("--list", action="store_true", help="name the attacks, and what each sends")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the table of docs/operations.md there"
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help=f"the most telling attacks, without a stop-watch: others have {SHORT_ROUNDS} answers one by one meanwhile",
    )
    options = parser.parse_args()
    wanted = [name for name in ATTACKS if ATTACKS[name].telling or not options.short]
    if options.only:
        wanted = [name for name in ATTACKS if any(part in name for part in options.only)]
    options.only = wanted or parser.error("no such attack; --list names them")
    return options


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # not without ending the server
    options = arguments()
    if options.list:
        for name in options.only:
            attack = ATTACKS[name]
            who = "with a login" if attack.login else "without a login"
            print(f"{name:26} {attack.sends} ({who}; {attack.least} and {attack.most} connections)")
        return 0
    return 0 if asyncio.run(run(options)) else 1


if __name__ == "__main__":
    sys.exit(main())
