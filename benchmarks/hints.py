"""How an instance learns that another has written: PostgreSQL's NOTIFY, as it is, or a message through Redis.

Both ways have two instances of their own, a store and a follower each, on a
database of their own; they are measured by turns, and medians are shown.  The
one writes, the other hears; each of the events must be heard once.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater, react

from multiproto.base.timestamps import format_timestamp
from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.protocol import Delivery
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.transactions import Event, Unit
from multiproto.log.follower import Follower
from multiproto.redis.address import RedisAddress
from multiproto.redis.connection import RedisCommandProtocol, RedisConnection, RedisSubscriberProtocol
from multiproto.storage.postgresql.connection import StatementCall
from multiproto.storage.postgresql.store import PostgresStore
from multiproto.storage.postgresql.transaction import PostgresTransaction
from tests.servers import Postgres, Redis

from .apart import Apart, cpu_exactly, obey
from .figures import circumstances, number, race, table
from .server import cpu_with_children

reactor: Any = installed

WAYS = "notify", "redis"
CALLERS = 1, 10, 100
SECONDS = 0.8  # of one round
GIVES_UP = 10.0  # seconds
CHANNEL = b"hints"
WHOSE = "writer", "reader", "postgresql", "redis"


async def commit_without_notify(transaction: PostgresTransaction) -> None:
    """`PostgresTransaction.commit` without its NOTIFY, for the other way."""
    statements = transaction._statements
    head = {
        "number": transaction.head.number,
        "position": transaction.position,
        "mark": transaction.head.mark,
    }
    await transaction._connection.execute(
        [StatementCall(statements["head_add"], head), StatementCall(statements["commit"])]
    )


@define(eq=False)
class Instance:
    """As much of one as writes and follows the log."""

    _way: str
    heard: dict[str, float] = field(factory=dict)  # event -> when
    reads: int = 0
    _store: Any = None
    _saying: IDelayedCall | None = None
    _name: bytes = field(factory=lambda: secrets.token_hex(8).encode())  # by which its own hints are known
    _commands: Any = None
    _new_id: Any = field(factory=lambda: Uuid7Generator(time.time))

    async def start(self) -> None:
        audience = Dispatcher()
        audience.subscribe("bench.**", self)
        store = PostgresStore(os.environ["DATABASE_URL"], reactor, self._observe, namespaces=["bench.**"])
        follower = Follower(store, audience, reactor)
        store.on_commit(follower.wake)
        if self._way == "redis":
            PostgresTransaction.commit = commit_without_notify  # type: ignore[method-assign,assignment]
            store.on_commit(self._hint)
            await self._connect(follower)
        self._store = store
        await store.startService()
        await follower.startService()

    async def _connect(self, follower: Follower) -> None:
        address = RedisAddress.parse(os.environ["REDIS_URL"])

        async def subscribe(subscriber: Any) -> None:
            await subscriber.subscribe([CHANNEL])

        self._commands = RedisConnection(address, RedisCommandProtocol, reactor)

        def heard(channel: bytes, message: bytes) -> None:
            if message != self._name:
                follower.wake()

        hearing = RedisConnection(address, lambda: RedisSubscriberProtocol(heard), reactor, subscribe)
        for each in (self._commands, hearing):
            each.start()
            while each.protocol is None:
                await deferLater(reactor, 0.01)

    def _hint(self) -> None:
        """Once for all that this turn has committed."""
        if self._saying is None:
            self._saying = reactor.callLater(0, self._say)

    def _say(self) -> None:
        self._saying = None
        self._commands.protocol.execute_command("PUBLISH", CHANNEL, self._name)

    def deliver(self, delivery: Delivery) -> bool:
        self.heard[str(delivery.id)] = time.monotonic()
        return True

    def _observe(self, operation: str, status: str, seconds: float) -> None:
        self.reads += operation == "read"

    async def write(self, callers: int) -> dict[str, Any]:
        """When each event was acknowledged, by its id."""
        acknowledged: dict[str, float] = {}

        async def publish() -> None:
            id, at = self._new_id(), format_timestamp(time.time())
            event = Event(
                id, "publication", ("bench.hints",), {"text": "x" * 80}, "ann", at, "bench.**", "ann", {}
            )
            await self._store.commit(Unit((), (event,)))
            acknowledged[id] = time.monotonic()

        await race([publish] * callers, SECONDS)
        return acknowledged

    async def read(self, count: int) -> dict[str, float]:
        """When each was heard here, once all are."""
        gives_up = time.monotonic() + GIVES_UP
        while len(self.heard) < count and time.monotonic() < gives_up:
            await deferLater(reactor, 0.02)
        heard, self.heard = self.heard, {}
        return heard

    async def used(self) -> dict[str, float]:
        return {"cpu": time.process_time(), "reads": self.reads}


def usage(ends: tuple[Apart, Apart], postgres: Postgres, redis: Redis) -> dict[str, float]:
    """So far."""
    writer, reader = (end.ask("used") for end in ends)
    return {
        "writer": writer["cpu"],
        "reader": reader["cpu"],
        "postgresql": cpu_with_children(postgres.pid),
        "redis": cpu_exactly(redis.pid),
        "writer_reads": writer["reads"],
        "reader_reads": reader["reads"],
    }


def one_round(ends: tuple[Apart, Apart], callers: int, postgres: Postgres, redis: Redis) -> dict[str, float]:
    writer, reader = ends
    before = usage(ends, postgres, redis)
    acknowledged = writer.ask("write", callers=callers)
    heard = reader.ask("read", count=len(acknowledged))
    after = usage(ends, postgres, redis)
    writer.ask("read", count=len(acknowledged))
    if heard.keys() != acknowledged.keys():
        raise SystemExit(f"{len(acknowledged)} were acknowledged, {len(heard)} heard")
    late = [heard[id] - at for id, at in acknowledged.items()]
    each = {name: (after[name] - before[name]) / len(late) for name in after}
    return each | {"late": median(late), "late_95": quantiles(late, n=20)[-1], "done": len(late)}


def measure(postgres: Postgres, redis: Redis, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = circumstances()
    ways: dict[str, tuple[Apart, Apart]] = {}
    for way in WAYS:
        environment = {"DATABASE_URL": postgres.new_database(), "REDIS_URL": redis.url}
        writer, reader = (Apart("benchmarks.hints", (way,), environment) for _ in range(2))
        writer.start()
        reader.start()
        ways[way] = writer, reader
    measured: dict[str, list[dict[str, float]]] = {}
    for number_ in range(rounds + 1):  # the first one warms up
        for callers in CALLERS:
            for way, ends in ways.items():
                seen = one_round(ends, callers, postgres, redis)
                if number_:
                    measured.setdefault(f"{way} {callers}", []).append(seen)
    for ends in ways.values():
        for end in ends:
            end.stop()
    return found | {"load_after": os.getloadavg(), "rounds": measured}


def shown(measured: dict[str, list[dict[str, float]]]) -> str:
    heads = (
        *("callers", "way", "/s", "heard after acknowledged, ms", "95 %, ms"),
        *(f"{name}, µs" for name in WHOSE),
        *("reads by the writer", "by the reader"),
    )
    rows = []
    for callers in CALLERS:
        for way in WAYS:
            series = measured[f"{way} {callers}"]
            middle = {name: median(each[name] for each in series) for name in series[0]}
            rows.append(
                (
                    *(callers, way, number(middle["done"] / SECONDS)),
                    *(f"{middle[name] * 1000:.2f}" for name in ("late", "late_95")),
                    *(number(middle[name] * 1e6) for name in WHOSE),
                    *(f"{middle[name]:.2f}" for name in ("writer_reads", "reader_reads")),
                )
            )
    return table(heads, rows)


async def serve(way: str) -> None:
    instance = Instance(way)
    await instance.start()
    await obey({"write": instance.write, "read": instance.read, "used": instance.used})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="python -m benchmarks.hints", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians are shown (%(default)s)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/hints.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    postgres, redis = Postgres(fsync=True), Redis()
    try:
        found = measure(postgres, redis, options.rounds)
    finally:
        redis.stop()
        postgres.stop()
    print(shown(found["rounds"]))
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WAYS:
        react(lambda _: Deferred.fromCoroutine(serve(sys.argv[1])))
    else:
        main(sys.argv[1:])
