"""The process that makes the load: `python -m tests.system.overload.crowd PLAN`, driven by words on its standard input.

It answers each word with a line of JSON.  `stop` and `read` are about the
reading, `storm` and `calm` about the logins; at the end of the input it leaves.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet import stdio
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall, react
from twisted.protocols.basic import LineReceiver

from ...ledger.lines import Ports
from ...tcp.wire import frame
from .logins import Storm
from .readers import HOST, TOPIC, Reader, gather

reactor: Any = installed

FLOOD = "x" * 4000  # characters that all readers are sent


class Publisher(Protocol):
    """Says the same to all readers, so many times a second."""

    def begin(self, token: str, each: float) -> None:
        line: Any = self.transport
        line.write(frame(0x01, token=token))
        LoopingCall(lambda: line.write(frame(0x20, topic=TOPIC, content=FLOOD))).start(1 / each)


@define(eq=False)
class Crowd:
    _plan: dict[str, Any]
    _ports: Ports
    readers: list[Reader] = field(factory=list, init=False)
    storm: Storm = field(init=False)

    async def gather(self) -> None:
        plan = self._plan
        self.readers = await gather(self._ports, plan["token"], plan["readers"])
        publisher = await connectProtocol(TCP4ClientEndpoint(reactor, HOST, self._ports.tcp), Publisher())
        publisher.begin(plan["flooder"], plan["floods"])
        self.storm = Storm(self._ports.http)

    def obey(self, word: str) -> dict[str, Any]:
        if word == "stop":
            for reader in self.readers:
                reader.stop_reading()
        elif word == "read":
            for reader in self.readers:
                reader.read_on()
        elif word == "storm":
            self.storm.start(self._plan["logins"])
        elif word == "calm":
            self.storm.stop()
        return {
            "here": sum(not reader.gone for reader in self.readers),
            "heard": sum(reader.heard for reader in self.readers),
            "logins": dict(self.storm.answers),
        }


class Orders(LineReceiver):
    delimiter = b"\n"

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.ended: Deferred[None] = Deferred()

    def lineReceived(self, line: bytes) -> None:
        print(json.dumps(self.crowd.obey(line.decode())), flush=True)

    def connectionLost(self, reason: object = None) -> None:
        self.ended.callback(None)


async def main(reactor: Any, plan: str) -> None:
    found = json.loads(plan)
    os.nice(5)  # those who measure come first
    crowd = Crowd(found, Ports(*found["ports"]))
    await crowd.gather()
    print(json.dumps({"here": len(crowd.readers)}), flush=True)
    orders = Orders(crowd)
    stdio.StandardIO(orders)
    await orders.ended


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor, sys.argv[1])))
