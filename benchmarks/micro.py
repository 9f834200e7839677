"""What changes of the code buy: the server of an earlier checkout and this one, by turns, in CPU of the server per operation.

Two real servers run side by side and are asked the same; each answer is
counted, so that a fast wrong answer counts as nothing.  What tells is the
ratio within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Callable, Iterator

from attrs import Factory, define

from .figures import table
from .server import HOST, TWISTD, Server, free_ports

AUTH, SUBSCRIBE, MESSAGE, PING = 0x01, 0x10, 0x20, 0x30
TOPIC = "micro.fanout"
CONTENT = "x" * 60  # about 100 bytes of JSON in all
PATIENCE = 60.0  # seconds
MASK = b"\1\2\3\4"
READ = 1 << 18  # bytes


class Contestant(Server):
    """A server with these settings, and what its process costs."""

    def __init__(self, directory: Path, code: str | None = None) -> None:
        super().__init__(directory)
        self.code = code  # another checkout

    def start(self) -> None:
        self.directory.mkdir()
        self.http, self.tcp = free_ports(2)
        settings = {
            "PORT": str(self.http),
            "TCP_PORT": str(self.tcp),
            "METRICS_ENABLED": "false",
            "DATA_DIR": str(self.directory / "data"),
            "BCRYPT_ROUNDS": "4",
            "TCP_MAX_CONNECTIONS_PER_IP": "50000",
            "WEBSOCKET_MAX_CONNECTIONS_PER_IP": "50000",
            "RATE_LIMIT_MAX": "1000000",
            "RATE_LIMIT_USER_MAX": "1000000",
            "CONNECT_RATE": "1000000/s",
            "COMMAND_RATE": "100000000/s",
            "PUBLISH_RATE": "100000000/s",
            "CREDENTIAL_PUBLISH_RATE": "100000000/s",
            "BYTE_RATE": "100000000000/s",
            "JWT_EXPIRES_IN": "1h",
            "AUTH_TIMEOUT": "10m",
            "TCP_PING_INTERVAL": "1h",
            "WEBSOCKET_PING_INTERVAL": "1h",
            "LOG_LEVEL": "warn",
        }
        with (self.directory / "server.log").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", TWISTD, "--nodaemon", "--pidfile=", "multiproto"],
                env={**os.environ, **settings},
                cwd=self.code,
                stdout=output,
                stderr=output,
            )
        gives_up = time.monotonic() + PATIENCE
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > gives_up:
                raise SystemExit(f"no server: {(self.directory / 'server.log').read_text()}")
            time.sleep(0.05)
        os.sched_setaffinity(self._process.pid, {0})

    def nanoseconds(self) -> int:
        """Computed by all its threads so far."""
        tasks = Path(f"/proc/{self._process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)

    def resident(self) -> int:
        """KiB of memory of its own."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("RssAnon:")[2].split()[0])


def device_frame(kind: int, **fields: object) -> bytes:
    body = bytes([kind]) + json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body


def text_frame(**fields: object) -> bytes:
    payload = json.dumps(fields).encode()
    size = len(payload)
    key = (MASK * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    head = bytes([0x81, 0x80 | size]) if size < 126 else bytes([0x81, 0xFE]) + size.to_bytes(2, "big")
    return head + MASK + masked


@define
class Wire:
    """How one of the protocols says things."""

    connect: Callable[[Server], socket.socket]
    auth: Callable[[str], bytes]
    subscribe: bytes
    publish: bytes
    ping: bytes


def over_tcp(server: Server) -> socket.socket:
    return socket.create_connection((HOST, server.tcp))


def over_websocket(server: Server) -> socket.socket:
    line = socket.create_connection((HOST, server.http))
    lines = [
        f"GET /ws HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ]
    line.sendall("\r\n".join(lines).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += line.recv(4096)
    assert b" 101 " in answer.partition(b"\r\n")[0]
    return line


WIRES = {
    "tcp": Wire(
        over_tcp,
        lambda token: device_frame(AUTH, token=token),
        device_frame(SUBSCRIBE, topic=TOPIC),
        device_frame(MESSAGE, topic=TOPIC, content=CONTENT),
        device_frame(PING),
    ),
    "websocket": Wire(
        over_websocket,
        lambda token: text_frame(type="auth", token=token),
        text_frame(type="subscribe", topic=TOPIC),
        text_frame(type="message", topic=TOPIC, data=CONTENT),
        text_frame(type="ping"),
    ),
}


@define(eq=False)
class Crowd:
    """Subscribers, and one who publishes to them."""

    server: Contestant
    wire: Wire
    token: str
    lines: list[socket.socket] = Factory(list)
    publisher: socket.socket | None = None
    size: int = 0  # bytes of a delivery
    _poll: select.epoll = Factory(select.epoll)
    _by_number: dict[int, socket.socket] = Factory(dict)

    def gather(self, count: int) -> None:
        for _ in range(count):
            line = self.open()
            line.sendall(self.wire.subscribe)
            line.recv(4096)
            line.setblocking(False)
            self.lines.append(line)
            self._poll.register(line, select.EPOLLIN)
            self._by_number[line.fileno()] = line
        self.publisher = self.open()
        self.publisher.sendall(self.wire.publish)
        time.sleep(2)
        self.size = len(self.lines[0].recv(4096))
        for line in self.lines[1:]:
            assert len(line.recv(4096)) == self.size

    def open(self) -> socket.socket:
        line = self.wire.connect(self.server)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(self.wire.auth(self.token))
        line.recv(4096)
        return line

    def tell(self, rounds: int, in_flight: int) -> float:
        """Microseconds of the server per delivery."""
        assert self.publisher is not None
        begun = self.server.nanoseconds()
        for _ in range(rounds):
            self.publisher.sendall(self.wire.publish * in_flight)
            left = self.size * in_flight * len(self.lines)
            gives_up = time.monotonic() + PATIENCE
            while left > 0:
                for number, _event in self._poll.poll(1.0):
                    came = len(self._by_number[number].recv(READ))
                    if not came:
                        raise SystemExit(f"a subscriber was hung up on, with {left} bytes to come")
                    left -= came
                if time.monotonic() > gives_up:
                    raise SystemExit(f"{left} bytes were never delivered")
            assert left == 0
        return (self.server.nanoseconds() - begun) / 1000 / (rounds * in_flight * len(self.lines))

    def close(self) -> None:
        for line in [*self.lines, self.publisher]:
            if line is not None:
                line.close()
        self._poll.close()


def tell_to(crowds: list[Crowd], in_flight: int, server: Contestant, token: str) -> float:
    crowd = next(crowd for crowd in crowds if crowd.server is server)
    return crowd.tell(max(1, 40 // in_flight), in_flight)


def ingest(wire: Wire, server: Contestant, token: str, count: int = 10_000, lines: int = 20) -> float:
    """Microseconds of the server per publication, when they come in bulk; a PING at the end waits for the last."""
    crowd = Crowd(server, wire, token)
    opened = [crowd.open() for _ in range(lines)]
    begun = server.nanoseconds()
    bulk = wire.publish * 100
    for _ in range(count // 100 // lines):
        for line in opened:
            line.sendall(bulk)
    for line in opened:
        line.sendall(wire.ping)
    for line in opened:
        line.settimeout(PATIENCE)
        line.recv(4096)
    took = (server.nanoseconds() - begun) / 1000 / count
    for line in opened:
        line.close()
    return took


def echo(wire: Wire, server: Contestant, token: str, rounds: int = 50, lines: int = 64) -> float:
    """Microseconds of a PING and its PONG, one in flight on each of `lines`."""
    crowd = Crowd(server, wire, token)
    opened = [crowd.open() for _ in range(lines)]
    begun = server.nanoseconds()
    for _ in range(rounds):
        for line in opened:
            line.sendall(wire.ping)
        for line in opened:
            line.recv(4096)
    took = (server.nanoseconds() - begun) / 1000 / rounds / lines
    for line in opened:
        line.close()
    return took


def idle(server: Contestant, wire: Wire, token: str, count: int) -> tuple[float, float]:
    """(KiB, CPU microseconds) of a connection with its session and one subscription."""
    crowd = Crowd(server, wire, token)
    warm = [crowd.open() for _ in range(100)]
    before, begun = server.resident(), server.nanoseconds()
    lines = []
    for _ in range(count):
        line = crowd.open()
        line.sendall(wire.subscribe)
        line.recv(4096)
        lines.append(line)
    took = (server.nanoseconds() - begun) / 1000 / count
    grown = (server.resident() - before) / count
    for line in [*warm, *lines]:
        line.close()
    return grown, took


Measure = Callable[[Contestant, str], float]


def measured(
    contestants: dict[str, Contestant], tokens: dict[str, str], what: Measure, rounds: int
) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, server in contestants.items():
            taken[name].append(what(server, tokens[name]))
    return taken


def rows(
    args: argparse.Namespace, contestants: dict[str, Contestant]
) -> Iterator[tuple[str, dict[str, list[float]]]]:
    tokens = {name: server.token() for name, server in contestants.items()}
    for name, wire in WIRES.items():
        if args.only and name not in args.only:
            continue
        if "fanout" in args.what:
            crowds = {each: Crowd(server, wire, tokens[each]) for each, server in contestants.items()}
            for crowd in crowds.values():
                crowd.gather(args.subscribers)
            for in_flight in (1, 16):
                tell = partial(tell_to, list(crowds.values()), in_flight)

                measured(contestants, tokens, tell, 1)  # warm up
                yield (
                    f"{name} fan-out, {in_flight} in flight",
                    measured(contestants, tokens, tell, args.rounds),
                )
            for crowd in crowds.values():
                crowd.close()
        if "ingest" in args.what:
            yield (
                f"{name} publish, nobody listens",
                measured(contestants, tokens, partial(ingest, wire), args.rounds),
            )
        if "echo" in args.what:
            yield (
                f"{name} echo",
                measured(contestants, tokens, partial(echo, wire), args.rounds),
            )
        if "idle" in args.what:
            figures = {
                each: idle(server, wire, tokens[each], args.idle) for each, server in contestants.items()
            }
            yield f"{name} idle, KiB", {each: [figure[0]] for each, figure in figures.items()}
            yield f"{name} accept, auth, subscribe", {each: [figure[1]] for each, figure in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--subscribers", type=int, default=1000)
    parser.add_argument("--idle", type=int, default=3000)
    parser.add_argument("--only", nargs="*", choices=list(WIRES))
    parser.add_argument("--before", required=True, help="a checkout of earlier code, to compare with")
    parser.add_argument("--what", nargs="*", default=["fanout", "ingest", "echo", "idle"])
    args = parser.parse_args()
    os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as directory:
        before = Contestant(Path(directory) / "before", args.before)
        contestants = {"before": before, "now": Contestant(Path(directory) / "now")}
        try:
            for each in contestants.values():
                each.start()
            shown = []
            for what, taken in rows(args, contestants):
                old, new = median(taken["before"]), median(taken["now"])
                shown.append((what, f"{old:.2f}", f"{new:.2f}", f"{new / old:.2f}"))
                print(
                    shown[-1], {name: [round(x, 2) for x in each] for name, each in taken.items()}, flush=True
                )
            print(table(("µs of the server's CPU", "before", "now", "now / before"), shown))
        finally:
            for each in contestants.values():
                each.stop()


if __name__ == "__main__":
    main()
