"""Clients that do nothing wrong, and how long each of their requests waits.

They send by the clock, whether or not the last answer has come: so a server that stands still for a
second is seen by all requests of that second, not by one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import count
from typing import Any, Iterator, Sequence

from attrs import define, field, frozen

from ...ledger.lines import Ports
from ...ledger.server import LOGGED
from ...tcp.wire import frame, frames
from .requests import HOST, ask, request

PASSWORD = "Passw0rd!"
GET_EVERY = 0.005  # seconds
PUBLISH_EVERY = 0.02
LOGIN_EVERY = 0.5
LOGINS_AT_ONCE = 5  # an account has ten attempts, those that are not yet answered included
ALIVE = b'"alive"}'  # ends the answer of /health/live


@frozen
class Waited:
    """How long requests of one kind waited, in milliseconds."""

    p50: float
    p99: float
    worst: float
    answers: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waited:
        ordered = sorted(seconds) or [float("inf")]
        p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99))
        return cls(p50 * 1000, p99 * 1000, ordered[-1] * 1000, len(seconds))

    def __str__(self) -> str:
        return f"{self.p50:.1f}/{self.p99:.1f}/{self.worst:.0f}"


@define(eq=False)
class Probe(asyncio.Protocol):
    """One connection that sends again and again, and has its answers in the order of its requests."""

    seconds: list[float] = field(factory=list, init=False)  # that each answer took
    faults: list[str] = field(factory=list, init=False)  # what went wrong on the connection
    rounds: int = field(default=0, init=False)  # answers to requests that were sent after the answer before
    _round_ended_at: float = field(default=0.0, init=False)
    _sent_at: deque[float] = field(factory=deque, init=False)  # of requests without an answer
    _buffer: bytes = field(default=b"", init=False)
    _transport: Any = field(default=None, init=False)
    _closes: bool = field(default=False, init=False)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closes:
            self.faults.append("connection lost")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.read()

    def read(self) -> None:
        """Call `answered` for each whole answer in the buffer."""
        raise NotImplementedError

    def send(self, data: bytes) -> None:
        self._sent_at.append(time.perf_counter())
        self._transport.write(data)

    def answered(self) -> None:
        now, sent_at = time.perf_counter(), self._sent_at.popleft()
        self.seconds.append(now - sent_at)
        if sent_at >= self._round_ended_at:
            self.rounds, self._round_ended_at = self.rounds + 1, now

    @property
    def unanswered(self) -> int:
        return len(self._sent_at)

    def close(self) -> None:
        self._closes = True
        self._transport.close()


class HealthProbe(Probe):
    """GET /health/live on one connection."""

    async def run(self) -> None:
        async for _ in every(GET_EVERY):
            self.send(request("GET", "/health/live"))

    def read(self) -> None:
        while (end := self._buffer.find(ALIVE)) >= 0:
            answer, self._buffer = self._buffer[:end], self._buffer[end + len(ALIVE) :]
            if not answer.startswith(b"HTTP/1.1 200 "):
                self.faults.append(f"answered {answer[:60]!r}")
            self.answered()


class PublishProbe(Probe):
    """Publishes over framed TCP to a topic that is logged, and wants an acknowledgement of each, in order."""

    token = ""

    async def run(self) -> None:
        self._numbers = count()
        self._transport.write(frame(0x01, token=self.token))
        numbers = count()
        async for _ in every(PUBLISH_EVERY):
            number = next(numbers)
            self.send(frame(0x20, topic=f"{LOGGED}.probe", content={"n": number}, id=number))

    def read(self) -> None:
        while len(self._buffer) >= (size := 4 + int.from_bytes(self._buffer[:4], "big")) and size > 4:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            [(kind, fields)] = frames(data)
            match kind:
                case 0x02:
                    continue
                case 0x30:
                    self._transport.write(frame(0x31))
                case 0x22 if fields["id"] == next(self._numbers):
                    self.answered()
                case _:
                    self.faults.append(f"TCP frame {kind:#x} {fields}, which is not the next acknowledgement")


@define(eq=False)
class LoginProbe:
    """Logs in with the right password, each time from one of many addresses, which have a limit of 20."""

    port: int
    email: str
    numbers: Iterator[int]  # of all logins, those of earlier probes included
    seconds: list[float] = field(factory=list, init=False)
    faults: list[str] = field(factory=list, init=False)
    _running: set[asyncio.Task[None]] = field(factory=set, init=False)

    @property
    def unanswered(self) -> int:
        return len(self._running)

    async def run(self) -> None:
        async for _ in every(LOGIN_EVERY):
            if len(self._running) >= LOGINS_AT_ONCE:
                continue
            task = asyncio.create_task(self._log_in())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _log_in(self) -> None:
        source = f"127.0.2.{1 + next(self.numbers) % 250}"
        started, body = time.perf_counter(), {"email": self.email, "password": PASSWORD}
        try:
            status, answer = await ask(self.port, "POST", "/api/v1/auth/login", body, source=source)
            if status != 200:
                self.faults.append(f"login answered {status} {answer}")
        except (OSError, ValueError, IndexError) as fault:
            self.faults.append(f"login: {fault}")
        self.seconds.append(time.perf_counter() - started)

    def close(self) -> None:
        for task in self._running:
            task.cancel()


@define(eq=False)
class Probes:
    """One of each kind, from their start to `close`."""

    health: HealthProbe
    publish: PublishProbe
    login: LoginProbe
    _running: list[asyncio.Task[None]] = field(factory=list, init=False)

    @classmethod
    async def start(cls, ports: Ports, token: str, email: str, logins: Iterator[int]) -> Probes:
        loop = asyncio.get_running_loop()
        _, health = await loop.create_connection(HealthProbe, HOST, ports.http)
        _, publish = await loop.create_connection(PublishProbe, HOST, ports.tcp)
        publish.token = token
        probes = cls(health, publish, LoginProbe(ports.http, email, logins))
        probes._running = [asyncio.create_task(each.run()) for each in probes.all]
        return probes

    @property
    def all(self) -> tuple[HealthProbe, PublishProbe, LoginProbe]:
        return self.health, self.publish, self.login

    @property
    def waited(self) -> list[Waited]:
        return [Waited.of(each.seconds) for each in self.all]

    @property
    def faults(self) -> list[str]:
        return [fault for each in self.all for fault in each.faults]

    async def finish(self, patience: float) -> None:
        """Send no more, wait for what has no answer yet, and close."""
        for task in self._running:
            task.cancel()
        give_up = time.monotonic() + patience
        while any(each.unanswered for each in self.all) and time.monotonic() < give_up:
            await asyncio.sleep(0.01)
        for each in self.all:
            if each.unanswered:
                each.faults.append(f"{type(each).__name__}: {each.unanswered} requests without an answer")
            each.close()


class every:
    """Iterates at the given interval, by the clock: what comes late is not left out."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next_at = time.monotonic()

    def __aiter__(self) -> every:
        return self

    async def __anext__(self) -> None:
        self._next_at += self._seconds
        await asyncio.sleep(max(0.0, self._next_at - time.monotonic()))
