"""Free ports of loopback that nobody else takes before the program that they are for listens on them."""

from __future__ import annotations

import random
import socket
from collections import deque
from contextlib import ExitStack
from typing import Deque

HOST = "127.0.0.1"
# Below those that Linux chooses for outgoing connections: a server that is down for a while finds its port again.
CHOICE = range(10_000, 32_000)
KEPT = 64  # reservations at once, so that descriptors do not run out

_reserved: Deque[socket.socket] = deque()


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    return [free_run(1) for _ in range(count)]


def free_run(count: int) -> int:
    """The first of so many free ports, one after the other."""
    while True:
        first = random.choice(CHOICE)
        with ExitStack() as taken:
            try:
                found = [taken.enter_context(_reservation(first + n)) for n in range(count)]
            except OSError:
                continue
            taken.pop_all()
        _reserved.extend(found)
        while len(_reserved) > KEPT:
            _reserved.popleft().close()
        return first


def _reservation(port: int) -> socket.socket:
    """Bound, but not listening: a program can listen on the port, and no other reservation gets it.

    Linux lets a socket with SO_REUSEADDR, which every server sets, bind where another one with it is bound and
    does not listen.  It is bound without it, so that it finds a port of somebody else's reservation taken.
    """
    reserved = socket.socket()
    try:
        reserved.bind((HOST, port))
    except OSError:
        reserved.close()
        raise
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return reserved
