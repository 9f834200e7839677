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
from typing import Iterator, TypeVar

from attrs import asdict, frozen

from tests.servers import Missing, Postgres, Redis, Server

from . import load, machine, wires
from .contender import connected
from .contest import Contest, Run, measured, milliseconds, started
from .figures import Lap, number, table
from .ours import Multiproto

S = TypeVar("S", bound=Server)

CONNECTIONS = 64
USERS = 20
WORKERS = 1, 2
SEND = """mutation($input: SendMessageInput!) { sendMessage(input: $input) { id } }"""


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
        rows = []
        first = self.alone(next(iter(self.series)))
        for name in self.series:
            series, laps = self.series[name], self.laps(name)
            spent = (
                f"{series.cpu:.1f}",
                number(series.rate),
                milliseconds(laps, "p50"),
                milliseconds(laps, "p99"),
            )
            used, cores, generator = (
                median(getattr(lap, what) for lap in laps) for what in ("server", "cores", "generator")
            )
            shares = f"{used:.2f} : {cores - used:.2f} : {generator:.2f}"
            rows.append((name, *spent, shares, number(self.alone(name)), f"{self.alone(name) / first:.2f}"))
        return table(heads, rows)

    def laps(self, name: str) -> list[Shared]:
        return [each for each in self.series[name].rounds if isinstance(each, Shared)]

    def alone(self, name: str) -> float:
        return median(lap.alone for lap in self.laps(name))


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
    if len(machine.cores()) != 2:
        raise SystemExit("this is meant for two cores: taskset -c 0,1")
    servers = {}
    with ExitStack() as stack:
        try:
            postgres = stopped(stack, Postgres(fsync=True))
            for count in WORKERS:
                settings = {"WORKERS": str(count), "REDIS_URL": stopped(stack, Redis()).url}
                name = f"{count} worker{'s' * (count > 1)}"
                server = Multiproto(name=name, database=postgres.new_database(), settings=settings)
                server.everywhere = count > 1
                servers[server] = count
        except Missing as why:
            raise SystemExit(f"not measured: {why}") from None
        stack.enter_context(started(servers))
        runs = {server.name: asking(server, count) for server, count in servers.items()}
        yield Shares("Mixed load", "request").run(runs, rounds, seconds)


def stopped(stack: ExitStack, server: S) -> S:
    """At the end."""
    stack.callback(server.stop)
    return server


if __name__ == "__main__":
    measured("workers", str(__doc__), measure, sys.argv[1:])
