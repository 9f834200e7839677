"""The network of a load on several instances: a balancer before them, and what can happen on the way to Redis.

A process of its own: `python -m tests.ledger.network PLAN`, where the plan is
JSON: `balance` has lists [port, [ports behind it]], `ways` a list [port, port
behind it] by name: of each instance to Redis, and to PostgreSQL where that moves.
On standard input come

- `silence` and `speak`: to swallow what is published through Redis, all else
  goes on, and to pass it on again;
- `move WAY PORT`: new connections go there, and those that there are stay;
- `cut WAY`: to end all of its connections.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping

from twisted.internet import reactor
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from tests.proxy import Balancer, Proxy

from ..command_line import make_parser

MESSAGE = b"*3\r\n$7\r\nmessage"  # how Redis says to a subscriber that something was published


def unless_published(data: bytes) -> bytes:
    return b"" if MESSAGE in data else data


class Orders(LineReceiver):
    delimiter = b"\n"

    def __init__(self, ways: Mapping[str, Proxy]) -> None:
        self._ways = ways

    def lineReceived(self, line: bytes) -> None:
        match line.decode().split():
            case ["silence"]:
                self._filter_answers(unless_published)
            case ["speak"]:
                self._filter_answers(lambda data: data)
            case ["move", name, port]:
                self._ways[name].move(int(port))
            case ["cut", name]:
                self._ways[name].cut()
            case order:
                raise ValueError(f"no such order: {order}")

    def _filter_answers(self, rule: Callable[[bytes], bytes]) -> None:
        for way in self._ways.values():
            way.on_answer = rule

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        reactor.stop()  # type: ignore[attr-defined]


def main(plan: dict[str, Any]) -> None:
    for port, behind in plan["balance"]:
        Balancer(behind).listen(port)
    ways = {name: Proxy(behind) for name, (_, behind) in plan["ways"].items()}
    for name, (port, _) in plan["ways"].items():
        ways[name].listen(port)
    StandardIO(Orders(ways))
    print("ready", flush=True)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("plan", type=json.loads, metavar="PLAN")
    main(parser.parse_args().plan)
