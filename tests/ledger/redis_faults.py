"""What can befall the Redis of several instances; each returns when all is well again, and says how long what took."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Callable, Mapping

from tests.servers import HOST, Redis
from tests.timing import RESCUE

from .health import NOTICED_WITHIN

if TYPE_CHECKING:
    from .fleet import Fleet

DOWN = 2.0  # seconds
SILENT = 3.0
SPLIT_NOTICED_WITHIN = (
    5.0  # seconds that two instances may be on two masters (docs/instances.md#when-something-is-away)
)
SPLIT = 3.0  # seconds that they stay there


def kill(fleet: Fleet) -> str:
    fleet.redis.kill()
    noticed = fleet.health.until("degraded", NOTICED_WITHIN)
    time.sleep(DOWN)
    fleet.redis.start()
    return f"killed Redis; noticed in {noticed:.2f} s, well {fleet.health.until_healed():.2f} s after it was back"


def flush(fleet: Fleet) -> str:
    assert _ask(fleet.redis, "FLUSHALL") == "+OK"
    return "FLUSHALL"


def silence(fleet: Fleet) -> str:
    fleet.network.order("silence")
    noticed = fleet.health.until("degraded", NOTICED_WITHIN)
    time.sleep(SILENT)
    fleet.network.order("speak")
    healed = fleet.health.until_healed()
    return f"swallowed what goes through Redis; noticed in {noticed:.2f} s, well {healed:.2f} s after"


def promote(fleet: Fleet) -> str:
    """A replica is promoted, its master becomes its replica, and then the name leads to it: so does Sentinel."""
    former, promoted = fleet.redis, Redis()
    # By a command: a line of its configuration would make it a replica again when it is killed and started.
    assert _ask(promoted, f"REPLICAOF {HOST} {former.port}") == "+OK"
    _until(promoted, "INFO replication", "master_link_status:up")
    assert _ask(promoted, "REPLICAOF NO ONE") == "+OK"
    assert _ask(former, f"REPLICAOF {HOST} {promoted.port}") == "+OK"
    noticed = fleet.health.until("degraded", NOTICED_WITHIN)
    time.sleep(DOWN)
    for way in fleet.redis_ways:
        fleet.network.order("move", way, promoted.port)
    healed = fleet.health.until_healed()
    _succeed(fleet, promoted)
    return f"promoted a replica of Redis; noticed in {noticed:.2f} s, well {healed:.2f} s after the name led to it"


def move(fleet: Fleet) -> str:
    """The address leads to another master, where one instance goes; the other one keeps its connections to the former.

    Then the address leads there for the other one, too, whose connections still work.
    """
    another = Redis()
    first, *others = fleet.redis_ways
    fleet.network.order("move", first, another.port)
    fleet.network.order("cut", first)
    noticed = fleet.health.until("degraded", SPLIT_NOTICED_WITHIN)
    time.sleep(SPLIT)
    for way in others:
        fleet.network.order("move", way, another.port)
    healed = fleet.health.until_healed()
    _succeed(fleet, another)
    return f"moved Redis for one instance; noticed by all in {noticed:.2f} s, well {healed:.2f} s after the others' moved"


def _succeed(fleet: Fleet, server: Redis) -> None:
    """`server` takes the place of the present one, which nobody uses any more."""
    assert _subscribers(fleet.redis) == 0, "somebody is subscribed to the former Redis"
    fleet.redis.stop()
    fleet.redis = server
    fleet.health.until_healed()


def _subscribers(server: Redis) -> int:
    return _ask(server, "CLIENT LIST TYPE pubsub").count("id=")


def _until(server: Redis, question: str, wanted: str) -> None:
    give_up = time.monotonic() + RESCUE
    while wanted not in _ask(server, question):
        if time.monotonic() > give_up:
            raise SystemExit(f"no {wanted} in {question}")
        time.sleep(0.05)


def _ask(server: Redis, command: str) -> str:
    """Its answer as it comes: a line, or behind one with its length, a text."""
    with socket.create_connection((HOST, server.port), 5) as connection, connection.makefile("rb") as answers:
        connection.sendall(f"{command}\r\n".encode())
        line: str = answers.readline().decode().rstrip()
        return answers.read(int(line[1:])).decode() if line.startswith("$") else line


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    "redis": kill,
    "redis-promoted": promote,
    "redis-moved": move,
    "flushall": flush,
    "silence": silence,
}
