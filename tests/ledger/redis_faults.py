"""What can befall the Redis of several instances; each returns when all is well again, and says how long what took."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Callable, Mapping

from tests.servers import HOST

from .health import NOTICED_WITHIN

if TYPE_CHECKING:
    from .fleet import Fleet

DOWN = 2.0  # seconds
SILENT = 3.0


def kill(fleet: Fleet) -> str:
    fleet.redis.kill()
    noticed = fleet.health.until("degraded", NOTICED_WITHIN)
    time.sleep(DOWN)
    fleet.redis.start()
    return f"killed Redis; noticed in {noticed:.2f} s, well {fleet.health.until_healed():.2f} s after it was back"


def flush(fleet: Fleet) -> str:
    with socket.create_connection((HOST, fleet.redis.port), 5) as connection:
        connection.sendall(b"FLUSHALL\r\n")
        assert connection.recv(100) == b"+OK\r\n"
    return "FLUSHALL"


def silence(fleet: Fleet) -> str:
    fleet.network.order("silence")
    noticed = fleet.health.until("degraded", NOTICED_WITHIN)
    time.sleep(SILENT)
    fleet.network.order("speak")
    healed = fleet.health.until_healed()
    return f"swallowed what goes through Redis; noticed in {noticed:.2f} s, well {healed:.2f} s after"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {"redis": kill, "flushall": flush, "silence": silence}
