"""How many durable publications PostgreSQL takes from one instance and from two, beside the embedded SQLite.

All three are measured in one run, by turns, on one disk, through framed TCP and
servers as users start them.  A rate counts only if nothing was lost: what was
acknowledged is compared with the log, and the log's positions with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Callable, Iterable, Mapping

import psycopg
from attrs import asdict, define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from multiproto.storage.cursors import Term, Terms
from tests.servers import Postgres, Redis

from .devices import Device, dismiss, gather, publication
from .durable import sync_milliseconds
from .figures import circumstances, number, race, table
from .server import Server, cpu_with_children

PUBLISHERS = 1, 10, 100, 400
CONTENT = {"text": "x" * 180}  # about 200 bytes of JSON
SECONDS = 0.8  # of one round
TERMS = "SELECT id, first_position FROM terms ORDER BY number"
POSITIONS = "SELECT position, namespace FROM events ORDER BY position"


@frozen
class Round:
    rate: float  # acknowledged publications a second
    cpu: float  # microseconds of all instances for each
    database: float  # the same of PostgreSQL, where there is one
    load: float  # of the machine at its beginning


@define
class Series:
    rounds: list[Round] = field(factory=list)

    def median(self, of: str) -> float:
        return float(median(getattr(each, of) for each in self.rounds))


@define(eq=False)
class Way:
    """One log with the instances that write it."""

    name: str
    servers: list[Server]
    rows: Callable[[str], list[Any]]  # what an SQL statement gives
    devices: list[Device] = field(factory=list)
    cursors: list[str] = field(factory=list)  # of all that was acknowledged
    found: dict[int, Series] = field(factory=dict)  # by publishers

    async def gather(self) -> None:
        """Publishers, each next one at the next instance."""
        token = self.servers[0].token()
        share = max(PUBLISHERS) // len(self.servers)
        each = [await gather(server, token, share) for server in self.servers]
        self.devices = [device for devices in zip(*each) for device in devices]

    def cpu(self) -> float:
        return sum(server.cpu() for server in self.servers)

    async def publish(self, device: Device, said: bytes) -> None:
        answer = await device.ask(said)
        self.cursors.append(answer["cursor"])

    async def round(self, count: int, database: Callable[[], float]) -> Round:
        said, load = publication(CONTENT), os.getloadavg()[0]
        cpu, theirs = self.cpu(), database()
        publishers = [partial(self.publish, device, said) for device in self.devices[:count]]
        done, took = await race(publishers, SECONDS)
        ours, theirs = self.cpu() - cpu, database() - theirs
        return Round(done / took, ours / done * 1e6, theirs / done * 1e6, load)

    def checked(self) -> dict[str, int]:
        """Raises `SystemExit` unless all that was acknowledged is in the log, once, and the log has no hole."""
        terms = Terms(tuple(Term(*row) for row in self.rows(TERMS)))
        entries = self.rows(POSITIONS)
        logged = {position for position, namespace in entries if namespace == "bench.**"}
        acknowledged = [terms.position_of(cursor) for cursor in self.cursors]
        if sorted(map(int, filter(None, acknowledged))) != sorted(logged):
            raise SystemExit(f"{self.name}: {len(acknowledged)} acknowledged, {len(logged)} in the log")
        if [position for position, _ in entries] != list(range(1, len(entries) + 1)):
            raise SystemExit(f"{self.name}: the positions of the log are not dense")
        return {"acknowledged": len(acknowledged), "logged": len(logged), "head": len(entries)}


def from_sqlite(server: Server) -> Callable[[str], list[Any]]:
    def rows(statement: str) -> list[Any]:
        (file,) = (server.directory / "data").glob("*.db")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            return database.execute(statement).fetchall()

    return rows


def from_postgresql(url: str) -> Callable[[str], list[Any]]:
    def rows(statement: str) -> list[Any]:
        with psycopg.connect(url) as database:
            return database.execute(statement.encode()).fetchall()

    return rows


def shared(directory: Path, postgres: Postgres, redis: Redis, count: int) -> Way:
    """So many instances on a database and a live lane of their own."""
    url = postgres.new_database()
    settings = {
        "DATABASE_URL": url,
        "REDIS_URL": redis.url,
        "PUBSUB_REDIS_PREFIX": f"bench-{count}:",
        "JWT_SECRET": "a secret that all instances share",
    }
    servers = [Server(directory / f"{count}-{number}", settings=settings) for number in range(count)]
    return Way(f"PostgreSQL, {count}", servers, from_postgresql(url))


def ways(directory: Path, postgres: Postgres, redis: Redis) -> list[Way]:
    embedded = Server(directory / "sqlite")
    return [
        Way("SQLite", [embedded], from_sqlite(embedded)),
        shared(directory, postgres, redis, 1),
        shared(directory, postgres, redis, 2),
    ]


async def measure(directory: Path, rounds: int) -> dict[str, Any]:
    found = circumstances() | {"sync_ms": sync_milliseconds(directory)}
    print(f"A sync of this disk takes {found['sync_ms']} ms; {os.cpu_count()} processors.\n", flush=True)
    postgres, redis = Postgres(fsync=True), Redis()
    started: list[Server] = []
    try:
        compared = ways(directory, postgres, redis)
        for way in compared:
            for server in way.servers:
                server.start()
                started.append(server)
            await way.gather()
        await compare(compared, rounds, lambda: cpu_with_children(postgres.pid))
        for way in compared:
            await dismiss(way.devices)
        found["checked"] = {way.name: way.checked() for way in compared}
        found["rounds"] = {way.name: way.found for way in compared}
        found["load_after"] = os.getloadavg()[0]
        print(f"{shown(compared)}\n\n{found['checked']}", flush=True)
    finally:
        for server in started:
            server.stop()
        redis.stop()
        postgres.stop()
    return found


async def compare(compared: Iterable[Way], rounds: int, database: Callable[[], float]) -> None:
    """The first round warms up: plans are made, files grow to their size."""
    for number_ in range(rounds + 1):
        for count in PUBLISHERS:
            for way in compared:
                seen = await way.round(count, database)
                if number_:
                    way.found.setdefault(count, Series()).rounds.append(seen)


def shown(compared: list[Way]) -> str:
    heads = (
        "publishers",
        "log, instances",
        "/s",
        "ratio to SQLite",
        "CPU of instances, µs",
        "of PostgreSQL, µs",
    )
    rows = []
    for count in PUBLISHERS:
        base = compared[0].found[count].median("rate")
        for way in compared:
            series: Series = way.found[count]
            rate = series.median("rate")
            database = number(series.median("database")) if way is not compared[0] else ""
            rows.append(
                (
                    count,
                    way.name,
                    number(rate),
                    f"{rate / base:.2f}",
                    number(series.median("cpu")),
                    database,
                )
            )
    return table(heads, rows)


def options_of(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.instances", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians are shown (%(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/instances.json"), help="(%(default)s)")
    return parser.parse_args(arguments)


def jsonable(found: Mapping[str, Any]) -> str:
    return json.dumps(found, default=asdict, indent=1) + "\n"


def main(arguments: list[str]) -> None:
    options = options_of(arguments)

    async def run(_: object) -> None:
        # Where PostgreSQL's files are too: the same disk for all.
        with TemporaryDirectory(prefix="instances-") as directory:
            found = await measure(Path(directory), options.rounds)
        options.json.write_text(jsonable(found))

    react(lambda each: Deferred.fromCoroutine(run(each)))


if __name__ == "__main__":
    main(sys.argv[1:])
