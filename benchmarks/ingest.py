"""What comes in: messages that are decoded, checked and published, and round trips."""

from __future__ import annotations

import sys
from socket import socket
from typing import Callable, Iterator

from . import load, peers, wires
from .contender import Contender, connect
from .contest import Contest, Run, measured, started
from .load import STAMP, Frame, Wrong
from .ours import Multiproto

TALKERS = 20  # connections that say all they can
ECHOES = 64  # connections with one question on its way each
TOPIC = "bench.in"  # nobody listens
ID = STAMP.decode()
NUMBERED = wires.compact(wires.content())
END = wires.compact({"end": ID})
CHECKED = 0.3  # seconds of a run that counts for nothing but its order

Entry = tuple[str, Contender, Callable[[], Run]]  # a row, who it is, and what opens its connections


def measure(rounds: int, seconds: float) -> Iterator[Contest]:
    ours = Multiproto(settings={"WEBSOCKET_ECHO_ENABLED": "true"})
    node_ws = peers.node("Node ws", "sockets.js", "ws")
    node_net = peers.node("Node net", "sockets.js", "net")
    library = peers.websockets()
    with started([ours, node_ws, node_net, library]) as (there, missing):
        token = ours.token()
        in_order(ours, token)

        def contest(title: str, unit: str, *entries: Entry) -> Contest:
            runs = {name: open_() for name, of, open_ in entries if of in there}
            gone = {name: missing[of.name] for name, of, _ in entries if of not in there}
            return Contest(title, unit, missing=gone).run(runs, rounds, seconds)

        yield contest(
            f"Messages of {wires.MESSAGE_SIZE} bytes over WebSocket, {TALKERS} connections",
            "message",
            ("multiproto, published", ours, lambda: ours_over_websocket(ours, token)),
            ("Node ws, decoded", node_ws, lambda: talking_websocket(node_ws)),
            ("websockets, decoded", library, lambda: talking_websocket(library)),
        )
        yield contest(
            f"Messages of {wires.MESSAGE_SIZE} bytes over framed TCP, {TALKERS} connections",
            "message",
            ("multiproto, published", ours, lambda: ours_over_tcp(ours, token)),
            ("Node net, decoded", node_net, lambda: talking_net(node_net)),
        )
        yield contest(
            f"Round trips over WebSocket, {ECHOES} connections",
            "round trip",
            ("multiproto /ws-echo", ours, lambda: echoing(ours, "/ws-echo")),
            ("multiproto, publish and ack", ours, lambda: acknowledged_websocket(ours, token)),
            ("Node ws", node_ws, lambda: echoing(node_ws, "/echo")),
            ("websockets", library, lambda: echoing(library, "/echo")),
        )
        yield contest(
            f"Round trips over framed TCP, {ECHOES} connections",
            "round trip",
            ("multiproto, PING and PONG", ours, lambda: pinging(ours, token)),
            ("multiproto, publish and ack", ours, lambda: acknowledged_tcp(ours, token)),
            ("Node net, decoded and encoded", node_net, lambda: echoing_net(node_net)),
        )


def in_order(ours: Multiproto, token: str) -> None:
    """What is published over either wire arrives once and in order; while it is measured nobody listens."""
    listener = wires.ws_subscribe(wires.ws_session(ours.port, token), TOPIC)
    said = [
        (wires.ws_session(ours.port, token), wires.ws_message(TOPIC)),
        (wires.tcp_session(ours.tcp, token), wires.tcp_message(TOPIC)),
    ]
    for publisher, frame in said:
        load.fanout(ours, publisher, [listener], frame, 64, CHECKED)
        publisher.close()
    listener.close()


def counted(ours: Multiproto, protocol: str, fds: list[socket], frame: Frame, last: Frame) -> Run:
    """The server's own count must say that each message was published, with the last of every connection."""

    def run(seconds: float) -> load.Lap:
        before = ours.published(protocol)
        lap = load.ingest(ours, fds, frame, last, seconds)
        found = ours.published(protocol) - before - len(fds)
        if found != lap.done:
            raise Wrong(f"{ours.name}: {found} of {lap.done} messages were published")
        return lap

    return run


def ours_over_websocket(ours: Multiproto, token: str) -> Run:
    fds = [wires.ws_session(ours.port, token) for _ in range(TALKERS)]
    return counted(ours, "websocket", fds, wires.ws_message(TOPIC), wires.ws_final(TOPIC, ID))


def ours_over_tcp(ours: Multiproto, token: str) -> Run:
    fds = [wires.tcp_session(ours.tcp, token) for _ in range(TALKERS)]
    return counted(ours, "tcp", fds, wires.tcp_message(TOPIC), wires.tcp_final(TOPIC, ID))


def talking_websocket(of: Contender) -> Run:
    fds = [wires.websocket(of.port, "/ingest") for _ in range(TALKERS)]
    frame, last = wires.ws_frame(NUMBERED), wires.ws_frame(END)
    return lambda seconds: load.ingest(of, fds, frame, last, seconds)


def talking_net(of: Contender) -> Run:
    fds = [connect(of.port) for _ in range(TALKERS)]
    frame, last = wires.bare_frame(NUMBERED), wires.bare_frame(END)
    return lambda seconds: load.ingest(of, fds, frame, last, seconds)


def echoing(of: Contender, path: str) -> Run:
    fds = [wires.websocket(of.port, path) for _ in range(ECHOES)]
    frame = wires.ws_frame(NUMBERED)
    return lambda seconds: load.echo(of, fds, frame, seconds)


def echoing_net(of: Contender) -> Run:
    fds = [connect(of.port) for _ in range(ECHOES)]
    frame = wires.bare_frame(wires.compact({"echo": wires.content()}))
    return lambda seconds: load.echo(of, fds, frame, seconds)


def acknowledged_websocket(ours: Multiproto, token: str) -> Run:
    fds = [wires.ws_session(ours.port, token) for _ in range(ECHOES)]
    frame = wires.ws_final(TOPIC, ID)
    return lambda seconds: load.echo(ours, fds, frame, seconds)


def acknowledged_tcp(ours: Multiproto, token: str, topic: str = TOPIC, connections: int = ECHOES) -> Run:
    fds = [wires.tcp_session(ours.tcp, token) for _ in range(connections)]
    frame = wires.tcp_final(topic, ID)
    return lambda seconds: load.echo(ours, fds, frame, seconds)


def pinging(ours: Multiproto, token: str) -> Run:
    fds = [wires.tcp_session(ours.tcp, token) for _ in range(ECHOES)]
    frame = wires.tcp_frame(wires.PING, {"timestamp": 0})
    return lambda seconds: load.echo(ours, fds, frame, seconds, b'"timestamp"')


if __name__ == "__main__":
    measured("ingest", str(__doc__), measure, sys.argv[1:])
