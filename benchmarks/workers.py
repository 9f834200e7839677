"""One worker and two, with the same mixed load: how much more two do on two cores.

The second worker has the core that the generator, PostgreSQL and Redis are on.
So what counts is what both would do if they had both cores to themselves: the
rate, by the cores that were theirs or idle.
"""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from statistics import median
from typing import Iterator, Sequence, TypeVar

from attrs import asdict, frozen

from tests.servers import Missing, Postgres, Redis, Server

from . import load, machine, wires
from .contender import connected
from .contest import Contest, Run, costs, measured, started
from .figures import Lap, number, table
from .ours import Multiproto

S = TypeVar("S", bound=Server)

CONNECTIONS = 64
USERS = 20
WORKERS = 1, 2
SEND = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { id } }"


@frozen
class Shared(Lap):
    """`cores` could be the server's: those that it used, and those that nobody did."""

    cores: float
    alone: float  # the rate if each worker had a core to itself


class Shares(Contest):
    def shown(self) -> str:
        heads = (
            "",
            f"CPU of one {self.unit}, µs",
            "/s",
            "p50, ms",
            "p99, ms",
            "cores used : idle : generator",
            "/s with cores of their own",
            "× one worker",
        )
        rows: list[Sequence[object]] = []
        first = 0.0
        for name, series in self.series.items():
            laps = [each for each in series.rounds if isinstance(each, Shared)]
            used, cores, generator, alone = (
                median(getattr(lap, what) for lap in laps)
                for what in ("server", "cores", "generator", "alone")
            )
            first = first or alone
            shares = f"{used:.2f} : {cores - used:.2f} : {generator:.2f}"
            rows.append((name, *costs(series, laps), shares, number(alone), f"{alone / first:.2f}"))
        rows += [(name, why, *[""] * (len(heads) - 2)) for name, why in self.missing.items()]
        return table(heads, rows)


def mixed(server: Multiproto) -> list[load.Request]:
    """Of eight requests one is kept for good, five read a row and two nothing."""
    users = [server.register(each) for each in range(USERS)]
    headers = wires.BROWSER | {"Authorization": f"Bearer {users[0]['token']}"}
    names = [str(each["user"]["id"]) for each in users]
    reads = [
        wires.request("GET", f"/api/v1/users/{name}", f'"id":"{name}"'.encode(), headers) for name in names
    ]
    said = {"query": SEND, "variables": {"input": {"content": "x" * 100, "channelId": "bench"}}}
    send = wires.request("POST", "/graphql", b'"sendMessage"', headers, said)
    live = wires.request("GET", "/health/live", b'"alive"')
    return [each for read in range(0, USERS, 5) for each in (*reads[read : read + 5], live, live, send)]


def asking(server: Multiproto, workers: int) -> Run:
    requests = mixed(server)

    def run(seconds: float) -> Lap:
        with connected(server.port, CONNECTIONS) as lines:
            idle, begun = machine.idle_seconds(), time.perf_counter()
            lap = load.http(server, lines, requests, seconds)
            idle = (machine.idle_seconds() - idle) / (time.perf_counter() - begun)
        free = min(idle, workers - lap.server) if workers > 1 else 1 - lap.server
        cores = lap.server + max(0.0, free)
        return Shared(**asdict(lap), cores=cores, alone=lap.rate * workers / cores)

    return run


def measure(rounds: int, seconds: float) -> Iterator[Contest]:
    with ExitStack() as stack:
        contest = Shares("Mixed load", "request")
        try:
            runs = {server.name: asking(server, count) for server, count in running(stack)}
        except Missing as why:
            contest.missing = {name_of(count): f"not measured: {why}" for count in WORKERS}
            runs = {}
        yield contest.run(runs, rounds, seconds)


def running(stack: ExitStack) -> list[tuple[Multiproto, int]]:
    """Servers with so many workers each, until `stack` ends.  Raises `Missing`."""
    if len(machine.both()) < 2:
        raise Missing("there is one core only")
    postgres = stopped(stack, Postgres(fsync=True))
    servers = []
    for count in WORKERS:
        settings = {"WORKERS": str(count), "REDIS_URL": stopped(stack, Redis()).url}
        server = Multiproto(name=name_of(count), database=postgres.new_database(), settings=settings)
        server.everywhere = count > 1
        servers.append((server, count))
    stack.enter_context(started([server for server, _ in servers]))
    return servers


def name_of(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


def stopped(stack: ExitStack, server: S) -> S:
    """At the end."""
    stack.callback(server.stop)
    return server


if __name__ == "__main__":
    measured("workers", str(__doc__), measure, sys.argv[1:])
