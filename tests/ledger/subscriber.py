"""A client process: subscriptions, each on a connection that is lost and resumed.

All are on one protocol, or roam: each of their connections is on any of the four.

Run as `python -m tests.ledger.subscriber PLAN`, a file made by `load`.  On
standard input come `closing` (drop no more connections on purpose) and then,
as JSON, the last cursor that each client should see; it ends when all have.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any, Mapping

from attrs import define, field
from websockets.exceptions import WebSocketException

from ..command_line import make_parser
from .http import Http, Unanswered, Unsent
from .lines import LINES, Began, Came, CaughtUp, Denied, Ports
from .records import CAUGHT_UP, DELIVER, FAILED, INVOKED, OK, SUBSCRIBE, Journal, fingerprint

DROP_EVERY = 3.0  # seconds that a connection lasts, on average, before its client drops it
BEHIND = 0.1  # of all resumes: from an older cursor than the last one
ROAMING = "roaming"  # in place of a protocol
PATIENCE = 20.0  # seconds to wait for the last delivery


@define(eq=False)
class Orders:
    """What all clients of the process are told."""

    closing: Event = field(factory=Event)
    last: Mapping[str, str | None] | None = None  # client -> cursor
    give_up: float = float("inf")  # on the monotonic clock


@define(eq=False)
class Subscriber:
    _journal: Journal
    _orders: Orders
    _ports: Ports
    _protocol: str
    _random: random.Random
    name: str
    _user: str
    _token: str
    _pattern: str
    _stays: bool  # on its connection as long as that lasts, also while its server is halted
    _over: str = ""  # the protocol of the present connection
    _cursors: list[str] = field(factory=list)  # the newest few that it has, in the order they came

    def run(self) -> None:
        if self._protocol in ("graphql", ROAMING):
            self._start_from_a_list()
        while not self._done():
            self._over = self._random.choice(list(LINES)) if self._protocol == ROAMING else self._protocol
            after = self._after()
            self._write(SUBSCRIBE, INVOKED, cursor=after)
            try:
                self._follow(after)
            except Denied:
                self._write(SUBSCRIBE, FAILED)
                return
            except (OSError, WebSocketException):
                pass
            time.sleep(self._random.uniform(0.02, 0.3))

    def _start_from_a_list(self) -> None:
        """A GraphQL client reads a list and follows what comes behind its cursor."""
        http = Http(self._ports.http, self._token)
        while not self._cursors and not self._done():
            try:
                answer = http.graphql("{ messages(limit: 1) { cursor } }")
                self._cursors.append(answer.body["data"]["messages"]["cursor"])
            except (Unsent, Unanswered, TypeError, KeyError):
                time.sleep(0.2)

    def _after(self) -> str | None:
        """Where the next connection begins: mostly at the last that came; a client that lost some begins earlier."""
        if not self._cursors:
            return None
        return self._random.choice(self._cursors) if self._random.random() < BEHIND else self._cursors[-1]

    def _follow(self, after: str | None) -> None:
        """On one connection, until it ends."""
        drop = math.inf if self._stays else time.monotonic() + self._random.expovariate(1 / DROP_EVERY)
        said = LINES[self._over](self._ports, self._token, self._pattern, after)
        try:
            for each in said:
                match each:
                    case Began(cursor, recovered):
                        self._write(SUBSCRIBE, OK, cursor=cursor, recovered=recovered)
                        if cursor is not None:
                            self._cursors = [cursor]
                    case Came(topic, content, str(cursor)):
                        self._write(DELIVER, OK, topic, cursor=cursor, hash=fingerprint(content))
                        self._cursors = [*self._cursors[-9:], cursor]
                    case CaughtUp(cursor):
                        self._write(CAUGHT_UP, OK, cursor=cursor)
                if self._done() or time.monotonic() > drop and not self._orders.closing.is_set():
                    return
        finally:
            said.close()  # type: ignore[attr-defined]

    def _done(self) -> bool:
        orders = self._orders
        if orders.last is None:
            return False
        last = orders.last.get(self.name)
        return last is None or last in self._cursors[-1:] or time.monotonic() > orders.give_up

    def _write(self, op: str, state: str, topic: str | None = None, **more: object) -> None:
        topic = self._pattern if topic is None else topic
        self._journal.write(self.name, self._over, op, self._pattern, topic, state, user=self._user, **more)


def main(plan: Mapping[str, Any]) -> None:
    orders, journal = Orders(), Journal(Path(plan["journal"]))
    with ThreadPoolExecutor(len(plan["follows"])) as pool:
        running = []
        for follows in plan["follows"]:
            chance = random.Random(f"{plan['seed']} {follows['name']}")
            subscriber = Subscriber(
                journal, orders, Ports(**plan["ports"]), plan["protocol"], chance, **follows
            )
            running.append(pool.submit(subscriber.run))
        _obey(orders)
        for each in running:
            each.result()


def _obey(orders: Orders) -> None:
    """Until it is told how all ends; a load that died expects nothing more."""
    for line in sys.stdin:
        if line == "closing\n":
            orders.closing.set()
        else:
            orders.give_up = time.monotonic() + PATIENCE
            orders.last = json.loads(line)
            return
    orders.last = {}


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("plan", type=Path, metavar="PLAN")
    main(json.loads(parser.parse_args().plan.read_text()))
