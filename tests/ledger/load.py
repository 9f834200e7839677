"""A load on the real server: four protocols, connections that come and go, `kill -9`, and then the check.

Everything happens in one directory: the server's data and log, each client
process's plan and journal.  It is kept when the outcome is not as it should be.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Sequence

from attrs import define

from tests import canary

from . import records
from .build import FAULTS, OF_ONE_SERVER, NotHere, build, has_halts, has_long_leaps
from .check import Listing, check
from .clients import Clients
from .fleet import Fleet
from .health import NeverSaid
from .history_faults import QUIET
from .http import Http
from .mutants import MUTANTS
from .people import Crowd
from .records import Journal
from .report import SKIPPED, Fault, Report
from .server import Server

TALLY_EVERY = 2.0  # seconds between two lines of progress
QUIET_AFTER = 1.0  # seconds after the last restart before the last messages are sent
QUIET_BEFORE = 1.0  # seconds until what was sent before a pause is answered
LISTED = 50  # pages of a hundred that are read of a list


@define(eq=False)
class Load:
    _server: Server | Fleet
    _crowd: Crowd
    _clients: Clients
    _random: random.Random
    _seconds: float
    _faults: Sequence[str]  # of the server's, each of them once

    def run(self) -> None:
        """Until all that was sent is answered or given up, and all subscribers have had their time."""
        self._clients.start()
        self._disturb()
        self._clients.stop_sending()
        self._clients.tell("closing")
        time.sleep(QUIET_AFTER)
        self._crowd.say_goodbye()
        self._clients.finish(self._server.log())

    def _disturb(self) -> None:
        """Faults at random moments, and a user who loses all rights half-way."""
        begun = time.monotonic()
        moments = [
            (self._random.uniform(0.1, 0.95) * self._seconds, partial(self._befall, fault))
            for fault in self._faults
        ]
        moments.append((self._seconds / 2, self._crowd.revoke))
        for moment, act in sorted(moments, key=lambda each: each[0]):
            self._wait(begun, begun + moment)
            act()
        self._wait(begun, begun + self._seconds)

    def _befall(self, fault: str) -> None:
        complaints = self._server.complaints
        known = len(complaints)
        if fault in QUIET:
            self._clients.tell_senders("pause")
            time.sleep(QUIET_BEFORE)
        try:
            print(f"        {self._server.faults[fault]()}", flush=True)
        except NeverSaid as why:
            complaints.append(f"{why}: restarted")
            self._server.revive()
        for complaint in complaints[known:]:
            print(f"        NOT WELL: {fault}: {complaint}", flush=True)
        if fault in QUIET:
            self._clients.tell_senders("go on")

    def _wait(self, begun: float, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, TALLY_EVERY))
            print(f"{time.monotonic() - begun:5.1f} s  {self._clients.tally()}", flush=True)


def judge(
    server: Server | Fleet, crowd: Crowd, clients: Clients, must_recover: bool, one_retry: bool
) -> Report:
    """The server is stopped in between: lists are read from it, the file's integrity without it."""
    listings = [listing(Http(server.ports.http, user.token), user.id) for user in crowd.staying]
    server.stop()
    observed = records.read(*sorted(crowd.journal.path.parent.glob("*.jsonl")))
    report = check(observed, server.log(), listings, must_recover, one_retry, server.partings)
    for complaint in server.complaints:
        report.found(Fault.UNWELL, complaint)
    if (said := server.damage()) != "ok":
        report.found(Fault.DAMAGED, said)
    if broken := clients.broken():
        report.found(Fault.BROKEN, f"{broken}, see above")
    for path in crowd.journal.path.parent.rglob("server.log"):
        canary.look(str(path), path.read_text(errors="replace"))
    for leak in canary.leaks:
        report.found(Fault.TOLD, str(leak))
    report.figures["integrity_check ok"] = int(said == "ok")
    report.figures["starts"] = len(server.restarts)
    for name, took in (("first", server.restarts[:1]), ("slowest", server.restarts[1:])):
        report.figures[f"ms to ready, {name}"] = round(1000 * max(took, default=0))
    return report


def listing(http: Http, user: str) -> Listing:
    """What `GET /messages` shows this user: the newest, and how many there are."""
    payloads: list[str] = []
    for page in range(1, LISTED + 1):
        shown = http.ask("GET", f"/api/v1/messages?limit=100&page={page}").body["data"]
        payloads += [records.fingerprint(message["content"]) for message in shown["data"]]
        if not shown["pagination"]["hasNextPage"]:
            break
    return Listing(user, shown["pagination"]["total"], payloads)


def main(arguments: Sequence[str]) -> int:
    parser = _options()
    options = parser.parse_args(arguments)
    if not options.instances and (others := set(options.fault) - OF_ONE_SERVER):
        parser.error(f"these need --instances 2: {', '.join(sorted(others))}")
    if has_halts(options.fault) and has_long_leaps(options.fault):
        parser.error("halts and leaps need settings of their own: try each in a run of its own")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    directory = Path(tempfile.mkdtemp(prefix="ledger-"))
    chance = random.Random(seed)
    faults = ["instance"] * options.kills + list(options.fault)
    try:
        server = build(directory, chance, options.instances, faults, options.mutant)
    except NotHere as why:
        print(f"skipped: {why}")
        return SKIPPED
    clients = None
    print(f"seed {seed}, in {directory}", flush=True)
    try:
        server.start()
        crowd = Crowd.gather(
            server.ports.http, Journal(directory / "driver.jsonl"), lengthened=has_long_leaps(faults)
        )
        clients = Clients(directory, server.ports, crowd, seed)
        Load(server, crowd, clients, chance, options.seconds, faults).run()
        report = judge(server, crowd, clients, options.must_recover, options.one_retry)
    finally:
        if clients is not None:
            clients.kill()
        server.clean_up()
    print(report)
    as_wanted = report.clean if options.mutant is None else MUTANTS[options.mutant] in report.faults
    if options.mutant is not None:
        print(f"{options.mutant}: {'found out' if as_wanted else 'NOT FOUND OUT'}")
    if as_wanted and not options.keep:
        shutil.rmtree(directory)
    else:
        print(f"kept: {directory}")
    return 0 if as_wanted else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False, prog="python -m tests.ledger", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of load (%(default)s)")
    parser.add_argument(
        "--kills",
        type=int,
        default=5,
        help="kill -9 of the server, or of one of them, at random (%(default)s)",
    )
    parser.add_argument(
        "--instances", type=int, default=0, help="so many, on PostgreSQL and Redis; 0: one, embedded"
    )
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        choices=sorted(FAULTS),
        help="that befalls at random, most of them only several instances; may be given several times",
    )
    parser.add_argument("--seed", type=int, help="of all that is random here, though not of timing")
    parser.add_argument("--keep", action="store_true", help="the directory, even when all is clean")
    parser.add_argument("--must-recover", action="store_true", help='count "recovered: false" as a fault')
    parser.add_argument(
        "--one-retry", action="store_true", help="count a send that takes more than one repeat as a fault"
    )
    parser.add_argument(
        "--mutant", choices=sorted(MUTANTS), help="a server that breaks a promise: to be found out"
    )
    return parser
