"""What can befall the PostgreSQL of several instances; each returns when all is well again, and says how long what took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Callable, Mapping

from .health import NOTICED_WITHIN

if TYPE_CHECKING:
    from .fleet import Fleet

DOWN = 1.5  # seconds


def kill(fleet: Fleet) -> str:
    fleet.postgres.kill()
    gone = time.monotonic()
    noticed = fleet.health.until("unhealthy", NOTICED_WITHIN)
    time.sleep(max(0.0, gone + DOWN - time.monotonic()))
    fleet.postgres.start()
    healed = fleet.health.until_healed()
    return f"killed PostgreSQL; noticed in {noticed:.2f} s, well {healed:.2f} s after it was back"


FAULTS: Mapping[str, Callable[[Fleet], str]] = {"postgresql": kill}
