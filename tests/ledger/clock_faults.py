"""The time of day of servers leaps either way, while the clock of the intervals goes on; see `tests.fake_clock`.

Nothing of a load may depend on what is documented to go by the time of day:
`long_lived` has the settings of a server for that, and `people` gives the users
tokens that outlive every leap and are issued before the first.
"""

from __future__ import annotations

import json
import time
from typing import Sequence

from tests.canary import SECRET
from tests.fake_clock import LEAPS, FakeClock

from .health import NOTICED_WITHIN, Health, document

LEAPT = 3.0  # seconds that the time of day is wrong
LIFETIME = 100 * 86_400  # seconds
RETENTION = "30d"  # shorter than a leap, and longer than any load: nothing may be pruned
# The pruner has its turn in each leap.
PRELUDE = "from multiproto.log import pruner; pruner.INTERVAL = 0.5; "


def long_lived(logged: str) -> dict[str, str]:
    """Settings under which a leap ends no login, and what is kept would be pruned by a server that believed its clock."""
    kept = [{"match": match, "retention": RETENTION} for match in (f"{logged}.**", "messages.**")]
    return {
        "JWT_SECRET": SECRET,
        "JWT_REFRESH_EXPIRES_IN": f"{LIFETIME}s",
        "NAMESPACES": json.dumps(kept),
    }


def leap(clocks: Sequence[FakeClock], ports: Sequence[int], health: Health) -> str:
    """All `clocks` at once, and back, for each of the leaps; `health` is of their servers."""
    for seconds in LEAPS:
        for clock in clocks:
            clock.set(seconds)
        health.until("degraded", NOTICED_WITHIN)
        for port in ports:
            said = document(port).get("clock", "")
            if ("set forward" if seconds > 0 else "set back") not in said:
                health.complaints.append(f"{seconds} s of leap are not said, but {said!r}")
        time.sleep(LEAPT)
        for clock in clocks:
            clock.set(0)
        health.until_healed()
    return f"set {len(clocks)} clocks by {', '.join(f'{each:+d}' for each in LEAPS)} s and back"
