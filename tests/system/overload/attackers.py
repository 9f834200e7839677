"""The process of the attackers: `python -m tests.system.overload.attackers PLAN` plays one attack from one address.

It says `ready` on its standard output, begins at a line on its standard input, stops at the next or at the
end of the input, and prints what it did as a line of JSON.

Attackers have machines of their own.  Here they share the cores with the server and with those who measure, so
they have what these leave: as `SCHED_IDLE` (sched(7)), which the system takes for an idle core whenever something else
becomes ready.  At nice 19 they counted as busy, and a thread that hashed, or those who measured, waited on one core behind
the server while attackers had the other.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from typing import Any

from attrs import define, field

from ...command_line import make_parser
from .attacks import ATTACKS, Attack, Script, Target
from .requests import HOST

RECONNECT_AFTER = 0.02  # seconds
SMALL_BUFFER = 4096  # bytes that the system keeps for one who does not read
IP_BIND_ADDRESS_NO_PORT = 24  # ip(7): the port is chosen by connect(2), so that none runs out


@define(eq=False)
class Attackers:
    """All connections of one attack."""

    attack: Attack
    target: Target
    port: int
    address: str
    opened: int = field(default=0, init=False)
    lost: int = field(default=0, init=False)  # connections that the server refused or closed
    sent: int = field(default=0, init=False)  # bytes
    received: int = field(default=0, init=False)
    answers: int = field(default=0, init=False)  # reads that held what an answer holds
    last: bytes = field(default=b"", init=False)  # of what was received
    failure: str = field(default="", init=False)  # of the attack itself

    async def keep_attacking(self, number: int) -> None:
        """One connection after the other."""
        while True:
            try:
                await self._connect(number)
            except OSError:
                self.lost += 1
            except Exception as fault:
                self.failure = f"{type(fault).__name__}: {fault}"
                raise
            await asyncio.sleep(RECONNECT_AFTER)

    async def _connect(self, number: int) -> None:
        loop, script = asyncio.get_running_loop(), self.attack.script(self.target, number)
        with socket.socket() as peer:
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            if not script.reads:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            peer.bind((self.address, 0))
            await loop.sock_connect(peer, (HOST, self.port))
            self.opened += 1
            await self._send(peer, script.hello)
            if script.ready and not await self._read(peer, script.ready):
                self.lost += 1
                return
            reading = asyncio.create_task(self._read(peer) if script.reads else asyncio.sleep(3600, b""))
            sending = asyncio.create_task(self._play(peer, script))
            try:
                await asyncio.wait((reading, sending), return_when=asyncio.FIRST_COMPLETED)
                self.lost += reading.done()
            finally:
                for task in (reading, sending):
                    task.cancel()
                done = await asyncio.gather(reading, sending, return_exceptions=True)
                for fault in done:
                    if isinstance(fault, Exception) and not isinstance(fault, OSError):
                        raise fault
            if script.ending == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    async def _play(self, peer: socket.socket, script: Script) -> None:
        for body in script.bodies:
            for piece in script.pieces(body):
                await self._send(peer, piece)
                if script.pause:
                    await asyncio.sleep(script.pause)
            await asyncio.sleep(0)
        if script.ending == "half":
            peer.shutdown(socket.SHUT_WR)
        if script.ending in ("half", "stay"):
            await asyncio.sleep(3600)

    async def _send(self, peer: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(peer, data)
        self.sent += len(data)

    async def _read(self, peer: socket.socket, until: bytes = b"") -> bytes:
        """Read up to the end, or to `until` and then give that; empty at the end."""
        loop, tail = asyncio.get_running_loop(), b""
        while data := await loop.sock_recv(peer, 65536):
            self.received += len(data)
            data = tail + data
            self.last = data[-300:]
            self.answers += self.attack.answers in data
            if until and until in data:
                return until
            tail = data[-64:]
        return b""

    @property
    def report(self) -> dict[str, Any]:
        names = ("opened", "lost", "sent", "received", "answers", "failure")
        return {**{name: getattr(self, name) for name in names}, "last": repr(self.last)}


async def attack(plan: dict[str, Any]) -> dict[str, Any]:
    found = ATTACKS[plan["attack"]]
    attackers = Attackers(found, Target(**plan["target"]), plan["ports"][found.port], plan["address"])
    attackers.attack.script(attackers.target, 0)  # what takes long to make is kept
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    started = time.monotonic()
    tasks = [asyncio.create_task(attackers.keep_attacking(n)) for n in range(plan["connections"])]
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {**attackers.report, "seconds": time.monotonic() - started}


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("plan", type=json.loads, metavar="PLAN", help="a JSON object")
    plan = parser.parse_args().plan
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    print(json.dumps(asyncio.run(attack(plan))), flush=True)
