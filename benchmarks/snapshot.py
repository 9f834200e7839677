"""Whether PostgreSQL takes durable publications as fast while somebody keeps a snapshot open, as a backup does.

What transactions leave behind can't be vacuumed meanwhile, so whatever looks through it takes longer and longer.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.servers import Postgres

from .devices import dismiss, gather, publication
from .figures import circumstances, number, race, table
from .instances import CONTENT
from .server import Server, cpu_with_children

PUBLISHERS = 100
SLICE = 10.0  # seconds


async def measure(directory: Path, seconds: float) -> None:
    print(circumstances())
    postgres = Postgres(fsync=True)
    try:
        url = postgres.new_database()
        settings = {"DATABASE_URL": url, "JWT_SECRET": "a secret that all instances share"}
        server = Server(directory / "server", settings=settings)
        server.start()
        try:
            with psycopg.connect(url) as reader:
                await publish(server, postgres, reader, seconds)
        finally:
            server.stop()
    finally:
        postgres.stop()


async def publish(
    server: Server, postgres: Postgres, reader: psycopg.Connection[Any], seconds: float
) -> None:
    said = publication(CONTENT)
    devices = await gather(server, server.token(), PUBLISHERS)
    publishers = [lambda device=device: device.ask(said) for device in devices]
    rows = []

    async def slice_(name: str) -> None:
        ours, theirs = server.cpu(), cpu_with_children(postgres.pid)
        done, took = await race(publishers, SLICE)
        spent = (server.cpu() - ours) / done * 1e6, (cpu_with_children(postgres.pid) - theirs) / done * 1e6
        rows.append((name, number(done / took), *map(number, spent)))
        print(*rows[-1], flush=True)

    await slice_("before")
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    reader.execute("SELECT FROM events LIMIT 1")  # from here on it has its snapshot
    for begun in range(0, round(seconds), round(SLICE)):
        await slice_(f"from {begun} s on")
    reader.rollback()
    await slice_("behind it")
    await dismiss(devices)
    print(table(("open snapshot", "publications/s", "CPU of the server, µs", "of PostgreSQL, µs"), rows))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.snapshot", description=__doc__
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="with a snapshot open (%(default)s)")
    options = parser.parse_args(arguments)

    async def run(_: object) -> None:
        with TemporaryDirectory(prefix="snapshot-") as directory:
            await measure(Path(directory), options.seconds)

    react(lambda each: Deferred.fromCoroutine(run(each)))


if __name__ == "__main__":
    main(sys.argv[1:])
