"""A client process: users who send on one protocol, each one thing after the other.

Run as `python -m tests.ledger.sender PLAN`, a file made by `load`; it ends when
its standard input does, on which `pause` and `go on` may come before.  Who has `keys` sends whatever had no answer again under
its idempotency key, until it has one; who has none leaves it unknown.
"""

from __future__ import annotations

import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, Callable, Mapping

from attrs import define, frozen

from ..command_line import make_parser
from .http import DECLINED, Http, Unanswered, Unsent
from .publishers import SocketPublisher, TcpPublisher
from .records import FAILED, INVOKED, OK, SEND, UNKNOWN, Journal, fingerprint

PAUSE = 0.01  # seconds between two sends of one user, on average
AGAIN = 0.1  # seconds before what failed is sent again
PATIENCE = 15.0  # seconds that a send is repeated after all should end

SEND_MESSAGE = """mutation($input: SendMessageInput!, $key: String) {
  sendMessage(input: $input, idempotencyKey: $key) { id } }"""

PUBLISH = """mutation($topic: String!, $data: JSON, $key: String) {
  publish(topic: $topic, data: $data, idempotencyKey: $key) { cursor } }"""


@frozen
class Thing:
    """What is sent: a message to a channel or a user, or a publication."""

    topic: str
    payload: object
    fields: Mapping[str, str]  # of a message


Outcome = tuple[str, "str | None"]  # state, cursor
Road = Callable[[Thing, "str | None"], Outcome]  # raises `Unsent`, `Unanswered`


def by_rest(http: Http) -> Road:
    def send(thing: Thing, key: str | None) -> Outcome:
        path, body = "/api/v1/messages", dict[str, object](thing.fields)
        if not thing.fields:
            path, body = f"/api/v1/topics/{thing.topic}", {"data": thing.payload}
        answer = http.ask("POST", path, body, **({"Idempotency_Key": key} if key else {}))
        return _outcome(answer.status), answer.body.get("cursor")

    return send


def by_graphql(http: Http) -> Road:
    def send(thing: Thing, key: str | None) -> Outcome:
        if thing.fields:
            answer = http.graphql(SEND_MESSAGE, input=thing.fields, key=key)
        else:
            answer = http.graphql(PUBLISH, topic=thing.topic, data=thing.payload, key=key)
        return _outcome(answer.status), answer.body.get("extensions", {}).get("cursor")

    return send


def _outcome(status: int) -> str:
    if status < 300:
        return OK
    return FAILED if status in DECLINED else UNKNOWN


@define(eq=False)
class Sender:
    _journal: Journal
    _stop: Event
    _going: Event  # not set while nobody should send
    _protocol: str
    _road: Road
    _random: random.Random
    name: str
    _user: str
    _channels: list[str]
    _recipients: list[str]
    _publish: str | None  # first word of logged topics, to publish to instead
    _keys: bool

    def run(self) -> None:
        for number in count(1):
            self._going.wait()
            if self._stop.is_set():
                return
            self.send(f"{self.name}-{number}", self._thing(f"{self.name}-{number}"))
            time.sleep(self._random.uniform(0, 2 * PAUSE))

    def send(self, key: str, thing: Thing) -> str:
        """Its last state."""
        give_up = float("inf")
        while True:
            state, cursor = self._attempt(key, thing)
            if state == OK or not self._keys:
                time.sleep(0 if state == OK else AGAIN)
                return state
            if self._stop.is_set():
                give_up = min(give_up, time.monotonic() + PATIENCE)
            if time.monotonic() > give_up:
                return state
            time.sleep(AGAIN)

    def _attempt(self, key: str, thing: Thing) -> Outcome:
        self._write(key, thing, INVOKED, None)
        try:
            state, cursor = self._road(thing, key if self._keys else None)
        except Unsent:
            state, cursor = FAILED, None
        except Unanswered:
            state, cursor = UNKNOWN, None
        self._write(key, thing, state, cursor if state == OK else None)
        return state, cursor

    def _write(self, key: str, thing: Thing, state: str, cursor: str | None) -> None:
        digest = fingerprint(thing.payload)
        self._journal.write(
            self.name,
            self._protocol,
            SEND,
            key,
            thing.topic,
            state,
            hash=digest,
            cursor=cursor,
            user=self._user,
        )

    def _thing(self, key: str) -> Thing:
        filler = "." * int(self._random.expovariate(1 / 100))
        if self._publish is not None:
            topic = f"{self._publish}.{self._random.choice(self._channels)}"
            return Thing(topic, {"key": key, "filler": filler}, {})
        content = f"{key} {filler}."
        if self._random.random() < 0.3:
            recipient = self._random.choice(self._recipients)
            topic, target = f"messages.user.{recipient}", {"recipientId": recipient}
        else:
            channel = self._random.choice(self._channels)
            topic, target = f"messages.channel.{channel}", {"channelId": channel}
        return Thing(topic, content, {"content": content, **target})


def road(protocol: str, ports: Mapping[str, int], token: str) -> Road:
    match protocol:
        case "rest":
            return by_rest(Http(ports["http"], token))
        case "graphql":
            return by_graphql(Http(ports["http"], token))
        case "websocket":
            return SocketPublisher(ports["http"], token).send
        case "tcp":
            return TcpPublisher(ports["tcp"], token).send
    raise ValueError(protocol)


def main(plan: Mapping[str, Any]) -> None:
    stop, going, journal = Event(), Event(), Journal(Path(plan["journal"]))
    going.set()
    with ThreadPoolExecutor(len(plan["sends"])) as pool:
        running = []
        for sends in plan["sends"]:
            way = road(plan["protocol"], plan["ports"], sends.pop("token"))
            chance = random.Random(f"{plan['seed']} {sends['name']}")
            sender = Sender(journal, stop, going, plan["protocol"], way, chance, **sends)
            running.append(pool.submit(sender.run))
        for line in sys.stdin:
            going.clear() if line == "pause\n" else going.set()
        stop.set()
        going.set()
        for each in running:
            each.result()


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("plan", type=Path, metavar="PLAN")
    main(json.loads(parser.parse_args().plan.read_text()))
