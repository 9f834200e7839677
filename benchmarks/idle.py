"""What an idle connection costs: its memory, and the CPU of accepting it.

Memory is the process's own (RssAnon), without the kernel's for the socket, which
is the same for all.  Each round has a fresh server: memory once had is seldom given back.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from statistics import median
from typing import Callable, Iterator

from attrs import Factory, define, frozen

from . import peers, wires
from .contender import Contender, Missing, connect
from .contest import measured
from .figures import table
from .load import Wrong
from .ours import Multiproto

WEBSOCKETS = 10_000
FRAMED = 2_000
SETTLED = 0.5  # seconds without growth
SETTLES_WITHIN = 10.0  # seconds
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing at once leaves no port waiting

Open = Callable[[], socket.socket]
Door = Callable[[Contender], Open]  # made once the server runs


@frozen
class Held:
    count: int
    base: int  # KiB with no connection
    total: int  # KiB with all
    accept: float  # microseconds of CPU for one

    @property
    def each(self) -> float:
        """KiB."""
        return (self.total - self.base) / self.count


@define
class Crowd:
    """The same number of connections at several servers, one server at a time."""

    title: str
    rounds: dict[str, list[Held]] = Factory(dict)
    missing: dict[str, str] = Factory(dict)

    def shown(self) -> str:
        ours = [name for name in self.rounds if name.startswith("multiproto")]
        ratios = [name.replace("multiproto", "ours") + " / it" for name in ours]
        heads = [
            "",
            "KiB each",
            *ratios,
            "base, MiB",
            "with all, MiB",
            "accept CPU, µs",
            "least to most",
            *ratios,
        ]
        rows: list[list[object]] = []
        for name, held in self.rounds.items():
            size, accept = self.middle(name, "each"), self.middle(name, "accept")
            costs = sorted(each.accept for each in held)
            rows.append([name, f"{size:.2f}"])
            rows[-1] += [f"{self.middle(each, 'each') / size:.2f}" for each in ours]
            rows[-1] += [f"{self.middle(name, which) / 1024:.1f}" for which in ("base", "total")]
            rows[-1] += [f"{accept:.0f}", f"{costs[0]:.0f}-{costs[-1]:.0f}"]
            rows[-1] += [f"{self.middle(each, 'accept') / accept:.2f}" for each in ours]
        rows += [[name, why, *[""] * (len(heads) - 2)] for name, why in self.missing.items()]
        return table(heads, rows)

    def middle(self, name: str, what: str) -> float:
        return float(median(getattr(each, what) for each in self.rounds[name]))


def crowd(
    title: str, count: int, rounds: int, doors: dict[str, tuple[Callable[[], Contender], Door]]
) -> Crowd:
    found = Crowd(title)
    for _ in range(rounds):
        for name, (make, door) in doors.items():
            if name in found.missing:
                continue
            try:
                found.rounds.setdefault(name, []).append(held(make(), door, count))
            except Missing as why:
                del found.rounds[name]
                found.missing[name] = str(why)
    return found


def held(of: Contender, door: Door, count: int) -> Held:
    of.start()
    there = []
    try:
        open_ = door(of)
        there.append(open_())  # what only the first one costs
        base, cpu = settled(of), of.cpu()
        for _ in range(count):
            there.append(open_())
        accept = (of.cpu() - cpu) / count * 1e6
        total = settled(of)
        for each in there:
            if not alive(each):
                raise Wrong(f"{of.name}: a connection was not held")
        return Held(count, base, total, accept)
    finally:
        for each in there:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            each.close()
        of.stop()


def settled(of: Contender) -> int:
    """Its memory, once that is growing no more."""
    gives_up = time.monotonic() + SETTLES_WITHIN
    before, now = -1, of.memory()
    while now > before and time.monotonic() < gives_up:
        time.sleep(SETTLED)
        before, now = now, of.memory()
    return now


def alive(each: socket.socket) -> bool:
    """Nothing has come that was not asked for, a farewell least of all."""
    try:
        each.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    return False


def session(of: Contender) -> Open:
    assert isinstance(of, Multiproto)
    port, said = of.port, wires.ws_opening(of.token(), wires.TOPIC)
    return lambda: wires.ws_enter(port, said)


def device(of: Contender) -> Open:
    assert isinstance(of, Multiproto)
    port, token = of.tcp, of.token()

    def open_() -> socket.socket:
        made = wires.tcp_session(port, token)
        kind, said = wires.tcp_ask(made, wires.SUBSCRIBE, topic=wires.TOPIC)
        assert kind == wires.SUBSCRIBED, said
        return made

    return open_


def bare(path: str) -> Door:
    return lambda of: lambda: wires.websocket(of.port, path)


def greeted(of: Contender) -> Open:
    """A connection on which one word was answered: it is surely let in."""

    def open_() -> socket.socket:
        made = connect(of.port)
        made.sendall(wires.bare_frame(wires.compact({"echo": 1})).wire)
        wires.exactly(made, int.from_bytes(wires.exactly(made, 4), "big"))
        return made

    return open_


def measure(rounds: int, seconds: float) -> Iterator[Crowd]:
    yield crowd(
        f"{WEBSOCKETS} idle WebSockets",
        WEBSOCKETS,
        rounds,
        {
            "multiproto, session and subscription": (Multiproto, session),
            "multiproto, handshake only": (Multiproto, bare("/ws")),
            "Node ws, handshake only": (lambda: peers.node("Node ws", "sockets.js", "ws"), bare("/idle")),
            "websockets, handshake only": (peers.websockets, bare("/idle")),
        },
    )
    yield crowd(
        f"{FRAMED} idle connections of framed TCP",
        FRAMED,
        rounds,
        {
            "multiproto, session and subscription": (Multiproto, device),
            "Node net": (lambda: peers.node("Node net", "sockets.js", "net"), greeted),
        },
    )


if __name__ == "__main__":
    measured("idle", str(__doc__), measure, sys.argv[1:])
