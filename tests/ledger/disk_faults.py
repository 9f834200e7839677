"""What a server does while the disk of its database is full."""

from __future__ import annotations

import time
from itertools import count
from typing import Callable

from tests.canary import PASSWORD
from tests.disks import Disk

from .health import Health
from .http import Http

FULL = 4.0  # seconds
NOTICED_WITHIN = 10.0  # seconds: what there is of free pages in the database's files is used up first
SERVICE_UNAVAILABLE = 55  # docs/common.md#error-codes


def fill_up(disk: Disk, port: int, health: Health, recover: Callable[[], str]) -> str:
    """Fill `disk`, and free it again; `recover` does then what an operator has to, and says what that was."""
    disk.fill()
    noticed = health.until("unhealthy", NOTICED_WITHIN)
    refusal = _refusal(port, health)
    until = time.monotonic() + FULL
    while time.monotonic() < until:
        disk.fill()  # what is freed meanwhile, too
        health.stays("unhealthy", 0.2)
    disk.free()
    done = recover()
    healed = health.until_healed()
    return f"filled the disk; noticed in {noticed:.2f} s, refused: {refusal}; {done}well {healed:.2f} s after it had room"


def _refusal(port: int, health: Health) -> str:
    """What a write is refused with; small ones may still succeed, so try until one is."""
    http = Http(port)
    for number in count():
        fields = {
            "email": f"full{number}-{time.monotonic_ns()}@example.org",
            "name": "x" * 100,
            "password": PASSWORD,
        }
        answer = http.ask("POST", "/api/v1/auth/register", fields)
        if answer.status != 201:
            break
    if answer.status != 503 or answer.body["error"]["code"] != SERVICE_UNAVAILABLE:
        health.complaints.append(f"on a full disk, a write was answered with {answer}")
    return f"{answer.status} {answer.body['error']['message']}"
