"""One publisher, a thousand subscribers, messages of 100 bytes: one at a time, and sixteen on their way.

A message has 100 bytes of JSON, inside of what its protocol puts around it.
"""

from __future__ import annotations

import sys
from socket import socket
from typing import Callable, Iterator

from . import load, peers, wires
from .contender import Contender, connect
from .contest import Contest, Run, measured, started
from .load import Frame
from .ours import Multiproto

SUBSCRIBERS = 1000
WINDOWS = {1: "one at a time", 16: "16 on their way"}

# Opens a connection, told whether it is to subscribe.
Open = Callable[[bool], socket]
# How one talks to a contender, and what its publisher says; made once it runs.
Speech = Callable[[Contender], tuple[Open, Frame]]


def ours(of: Contender) -> tuple[Open, Frame]:
    assert isinstance(of, Multiproto)
    token = of.token()

    def open_(subscribe: bool) -> socket:
        made = wires.ws_session(of.port, token)
        return wires.ws_subscribe(made, wires.TOPIC) if subscribe else made

    return open_, wires.ws_message(wires.TOPIC)


def websocket(of: Contender) -> tuple[Open, Frame]:
    return lambda _: wires.websocket(of.port, "/fan"), wires.ws_frame(wires.compact(wires.content()))


def raw(of: Contender) -> tuple[Open, Frame]:
    def open_(subscribe: bool) -> socket:
        made = connect(of.port)
        if subscribe:
            made.sendall(b"S")
        return made

    return open_, Frame(b"", wires.compact(wires.content()))


def entries() -> list[tuple[Contender, Speech]]:
    return [
        (Multiproto(), ours),
        (peers.node("Node ws", "sockets.js", "ws"), websocket),
        (peers.websockets(), websocket),
        (peers.mosquitto(), lambda of: (lambda to: wires.mqtt(of.port, to), wires.mqtt_message())),
        (peers.nats(), lambda of: (lambda to: wires.nats(of.port, to), wires.nats_message())),
        (peers.redis(), lambda of: (lambda to: wires.redis(of.port, to), wires.redis_message())),
        (peers.floor("fanout"), raw),
    ]


def measure(rounds: int, seconds: float) -> Iterator[Contest]:
    speeches = dict(entries())
    with started(speeches) as (there, missing):
        heard = {}
        for each in there:
            open_, frame = speeches[each](each)
            heard[each] = open_(False), [open_(True) for _ in range(SUBSCRIBERS)], frame
        for window, words in WINDOWS.items():
            runs = {each.name: publishing(each, *heard[each], window) for each in there}
            title = f"{SUBSCRIBERS} subscribers, messages {words}"
            yield Contest(title, "delivery", missing=missing).run(runs, rounds, seconds)


def publishing(of: Contender, publisher: socket, audience: list[socket], frame: Frame, window: int) -> Run:
    return lambda seconds: load.fanout(of, publisher, audience, frame, window, seconds)


if __name__ == "__main__":
    measured("fanout", str(__doc__), measure, sys.argv[1:])
