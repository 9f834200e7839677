"""What a durable publication costs, how much sharing a sync of the disk gains, and how fast missed events are told again.

Both ways of committing are measured in one run, by turns, on one disk: many
units to a commit, as the server does it, and one commit for each.  What tells
is the ratio; the rates are the machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater, react

from multiproto.base.timestamps import format_timestamp
from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.transactions import Event, Unit
from multiproto.storage.sqlite.store import SqliteStore

from .devices import SUBSCRIBE, Device, dismiss, frame, gather, publication
from .figures import Round, Series, number, race, table
from .server import TOPIC, Server

reactor: Any = installed

PUBLISHERS = 1, 10, 100, 400
CONTENT = {"text": "x" * 180}  # about 200 bytes of JSON
STORE_SECONDS, WIRE_SECONDS = 0.5, 0.8  # of one round
EVENTS = 20_000  # that were missed
RESUMING = (1, 5), (10, 5), (100, 1)  # subscribers, rounds
PATIENCE = 40.0  # seconds that one round of resuming may take; what came by then counts

Compared = dict[int, dict[str, Series]]  # by publishers, and "grouped" or "single"


def sync_milliseconds(directory: Path) -> float:
    """The median of a hundred appends of a page, each synced: what a commit waits for at least."""
    took = []
    with (directory / "sync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - begun)
    return round(median(took) * 1000, 3)


def compared() -> Compared:
    return {count: {"grouped": Series(), "single": Series()} for count in PUBLISHERS}


async def store_alone(directory: Path, rounds: int) -> Compared:
    """`SqliteStore` in this process; CPU is that of the whole process."""
    new_id = Uuid7Generator(time.time)
    names = ["users.**", "messages.**", "_sessions", "bench.**"]
    stores = {
        way: SqliteStore(
            directory / f"store-{way}", reactor, reactor, lambda *of: None, namespaces=names, max_batch=batch
        )
        for way, batch in (("grouped", 400), ("single", 1))
    }
    found = compared()
    for store in stores.values():
        store.privilegedStartService()
        await store.startService()
    for _ in range(rounds):
        for count in PUBLISHERS:
            for way, store in stores.items():

                def publish(store: SqliteStore = store) -> Deferred[str]:
                    at = format_timestamp(time.time())
                    event = Event(
                        new_id(), "publication", (TOPIC,), CONTENT, "ann", at, "bench.**", "ann", {}
                    )
                    return store.commit(Unit((), (event,)))

                cpu = time.process_time()
                done, took = await race([publish] * count, STORE_SECONDS)
                cpu = time.process_time() - cpu
                found[count][way].rounds.append(Round(done / took, cpu / done * 1e6))
    for store in stores.values():
        await store.stopService()
    return found


async def over_the_wire(servers: dict[str, Server], tokens: dict[str, str], rounds: int) -> Compared:
    """TCP clients, each with one publication under way; CPU is the server's."""
    found = compared()
    devices = {way: await gather(server, tokens[way], max(PUBLISHERS)) for way, server in servers.items()}
    said = publication(CONTENT)
    for _ in range(rounds):
        for count in PUBLISHERS:
            for way, server in servers.items():
                publishers = [lambda device=device: device.ask(said) for device in devices[way][:count]]
                cpu = server.cpu()
                done, took = await race(publishers, WIRE_SECONDS)
                found[count][way].rounds.append(Round(done / took, (server.cpu() - cpu) / done * 1e6))
    for each in devices.values():
        await dismiss(each)
    return found


async def catching_up(server: Server, token: str) -> dict[int, dict[str, Any]]:
    """Subscribers who all missed the same events and come back at once; CPU is the server's."""
    (publisher,) = await gather(server, token, 1)
    said = publication(CONTENT)
    after = (await publisher.ask(said))["cursor"]
    for _ in range(EVENTS // 1000):
        await gatherResults([publisher.ask(said) for _ in range(1000)])
    await dismiss([publisher])
    found: dict[int, dict[str, Any]] = {}
    for count, rounds in RESUMING:
        series, ready = Series(), 0
        for _ in range(rounds):
            devices = await gather(server, token, count)
            cpu, begun = server.cpu(), time.perf_counter()
            await resumed(devices, after)
            took = time.perf_counter() - begun
            told = sum(device.deliveries for device in devices)
            series.rounds.append(Round(told / took, (server.cpu() - cpu) / told * 1e6))
            ready = sum(device.deliveries == EVENTS for device in devices)
            await dismiss(devices)
        found[count] = {"series": series, "caught_up": ready}
    return found


async def resumed(devices: list[Device], after: str) -> None:
    """Until all have caught up, or for `PATIENCE`."""
    gives_up: Deferred[None] = deferLater(reactor, PATIENCE)
    all_there = gatherResults([device.caught_up for device in devices])
    all_there.addCallback(lambda _: gives_up.cancel())
    gives_up.addErrback(lambda _: None)
    for device in devices:
        Deferred.fromCoroutine(subscribe(device, after))
    await gives_up


async def subscribe(device: Device, after: str) -> None:
    subscribed = await device.ask(frame(SUBSCRIBE, topic=TOPIC, after=after))
    assert subscribed.get("recovered"), subscribed


def comparison(found: Compared) -> str:
    heads = "publishers", "one commit each, /s", "grouped, /s", "ratio", "CPU each, µs", "CPU grouped, µs"
    rows = []
    for count, ways in found.items():
        single, grouped = ways["single"], ways["grouped"]
        ratio = f"{grouped.rate / single.rate:.1f}"
        rows.append(
            (count, number(single.rate), number(grouped.rate), ratio, number(single.cpu), number(grouped.cpu))
        )
    return table(heads, rows)


def resuming(found: dict[int, dict[str, Any]]) -> str:
    heads = "subscribers", "events/s in all", "events/s each", "CPU of an event, µs", "caught up"
    rows = []
    for count, each in found.items():
        series: Series = each["series"]
        ready = f"{each['caught_up']} of {count}"
        rows.append((count, number(series.rate), number(series.rate / count), f"{series.cpu:.1f}", ready))
    return table(heads, rows)


async def measure(directory: Path, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {"sync_ms": sync_milliseconds(directory), "processors": os.cpu_count()}
    print(f"A sync of this disk takes {found['sync_ms']} ms; {os.cpu_count()} processors.\n", flush=True)
    found["store"] = await store_alone(directory, rounds)
    print(f"The store alone\n\n{comparison(found['store'])}\n", flush=True)
    servers = {way: Server(directory / way, way == "grouped") for way in ("grouped", "single")}
    started = []
    try:
        for server in servers.values():
            server.start()
            started.append(server)
        tokens = {way: server.token() for way, server in servers.items()}
        found["wire"] = await over_the_wire(servers, tokens, rounds)
        print(f"Over framed TCP\n\n{comparison(found['wire'])}\n", flush=True)
        found["resume"] = await catching_up(servers["grouped"], tokens["grouped"])
        print(
            f"Catching up with {EVENTS} events over framed TCP\n\n{resuming(found['resume'])}\n", flush=True
        )
    finally:
        for server in started:
            server.stop()
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.durable", description=__doc__
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="of each measurement; medians are shown (%(default)s)"
    )
    parser.add_argument(
        "--directory", default=".", help="whose disk to measure; never one in memory (%(default)s)"
    )
    parser.add_argument("--json", type=Path, default=Path("benchmarks/durable.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)

    async def run(_: object) -> None:
        with tempfile.TemporaryDirectory(prefix="durable-", dir=options.directory) as directory:
            found = await measure(Path(directory).absolute(), options.rounds)
        options.json.write_text(json.dumps(found, default=asdict, indent=1) + "\n")

    react(lambda each: Deferred.fromCoroutine(run(each)))


if __name__ == "__main__":
    main(sys.argv[1:])
