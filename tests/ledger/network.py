"""The network of a load on several instances: a balancer before them, and what can happen on the way to Redis.

A process of its own: `python -m tests.ledger.network PLAN`, where the plan is
JSON: `balance` has lists [port, [ports behind it]], `redis` one [port, port
behind it].  On standard input come `silence` and `speak`: to swallow what is
published through Redis, all else goes on, and to pass it on again.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from tests.proxy import Balancer, Proxy

MESSAGE = b"*3\r\n$7\r\nmessage"  # how Redis says to a subscriber that something was published


def unless_published(data: bytes) -> bytes:
    return b"" if MESSAGE in data else data


class Orders(LineReceiver):
    delimiter = b"\n"

    def __init__(self, redis: Proxy) -> None:
        self._redis = redis

    def lineReceived(self, line: bytes) -> None:
        passed: Any = unless_published if line == b"silence" else lambda data: data
        self._redis.on_answer = passed

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        reactor.stop()  # type: ignore[attr-defined]


def main(plan: dict[str, Any]) -> None:
    for port, behind in plan["balance"]:
        Balancer(behind).listen(port)
    port, behind = plan["redis"]
    redis = Proxy(behind)
    redis.listen(port)
    StandardIO(Orders(redis))
    print("ready", flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
